"""VQA retention of some models on one set: ask what was not asked yet, grade everything, compare with the base.

FOLDER/<set>-<digest>/<model>-<fingerprint>[-<asking>][-blank]/   stored answers, see `answers`
FOLDER/<set>-<digest>/report[-circular][_<asking>].json           the comparison that says most
FOLDER/<set>-<digest>/report..._<part>.json                       one of fewer models or questions, made later

<asking> are hex digits that stand for settings other than the usual ones, see `_unusual`.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vlm2vla.evaluation import retention
from vlm2vla.evaluation.answers import Answer, AnswerFile, answer_all
from vlm2vla.evaluation.asking import WORDING, questions
from vlm2vla.evaluation.config import VqaConfig
from vlm2vla.evaluation.grading import Grade, agreement, grade
from vlm2vla.evaluation.items import VqaSet
from vlm2vla.evaluation.progress import Progress
from vlm2vla.evaluation.retention import Flip, Retention, Scored, flips
from vlm2vla.evaluation.scorers.yes_no import mme_points
from vlm2vla.evaluation.vqa_report import ModelResult, VqaReport
from vlm2vla.vlm.chat import ChatModel, Sampling
from vlm2vla.workspace import write_atomic


@dataclass(frozen=True)
class Contestant:
    """A model that is evaluated.

    Attributes:
        name: As in the registry.
        fingerprint: Of its weights, so that answers of other weights under the same name are not mixed in.
        open: Gives the model; only called when there is something to ask.
    """

    name: str
    fingerprint: str
    open: Callable[[], ChatModel]


def evaluate(
    vqa: VqaSet,
    contestants: Sequence[Contestant],
    folder: Path,
    config: VqaConfig,
    *,
    stopped: threading.Event | None = None,
    progress: Progress = None,
) -> VqaReport:
    """Ask, grade and compare; the first contestant is the base.

    Raises:
        EvaluationError: Another process is answering into the same run.
    """
    digest = vqa.digest  # of the whole set: answers serve with any limit
    vqa = vqa.first(config.limit)
    place = folder / f"{_safe(vqa.name)}-{digest}"
    results, grades, blanks = [], {}, {}
    for contestant in contestants:
        runs = [(False, place / _run_name(contestant, config))]
        if config.blank:
            runs.append((True, runs[0][1].with_name(runs[0][1].name + "-blank")))
        asked, stored = 0, {}
        for blank, run in runs:
            count, stored[blank] = _answers(vqa, contestant, run, config, blank, stopped, progress)
            asked += count
        grades[contestant.name] = grade(vqa, stored[False], circular=config.circular)
        if config.blank:
            blanks[contestant.name] = grade(vqa, stored[True], circular=config.circular)
        results.append(
            _result(vqa, contestant, runs[0][1], asked, stored[False], grades[contestant.name], blanks, config)
        )
    base, *tuned = [contestant.name for contestant in contestants]
    report = VqaReport(
        set=vqa.name,
        source=vqa.source,
        digest=digest,
        questions=len(vqa.items),
        base=base,
        circular=config.circular,
        models=tuple(results),
        retention=_retention(grades, blanks, base, tuned),
        retention_by_skill=_by_skill(grades, blanks, base, tuned),
        pairs=_pairs(grades, tuned),
        problems=vqa.problems,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        folder=str(place),
    )
    stored = report.to_json()
    write_atomic(_report_file(place, stored, config), json.dumps(stored, ensure_ascii=False, indent=1))
    return report


def gallery(
    vqa: VqaSet, base: Mapping[str, Answer], tuned: Mapping[str, Answer], *, circular: bool = False
) -> tuple[Flip, ...]:
    """Questions that one of two models got right and the other wrong."""
    return flips(grade(vqa, base, circular=circular), grade(vqa, tuned, circular=circular))


def _answers(
    vqa: VqaSet,
    contestant: Contestant,
    run: Path,
    config: VqaConfig,
    blank: bool,
    stopped: threading.Event | None,
    progress: Progress,
) -> tuple[int, dict[str, Answer]]:
    """(how many were asked now, all stored answers)."""
    sampling = _sampling(config)
    about = {
        "model": contestant.name,
        "fingerprint": contestant.fingerprint,
        "set": vqa.name,
        "wording": WORDING,
        "blank": blank,
        "sampling": asdict(sampling),
    }
    file = AnswerFile(run, about)
    asked = list(questions(vqa, circular=config.circular, repeats=1 if blank else config.repeats))
    known = file.read()
    waiting = [each for each in asked if each.key not in known or (config.retry_failed and known[each.key].error)]
    count = 0
    if waiting and not (stopped and stopped.is_set()):
        count = answer_all(
            contestant.open(),
            asked,
            file,
            suffix=vqa.suffix,
            blank=blank,
            sampling=sampling,
            batch=config.batch,
            retry_failed=config.retry_failed,
            stopped=stopped,
            progress=progress,
        )
    return count, file.read()


def _result(
    vqa: VqaSet,
    contestant: Contestant,
    run: Path,
    asked: int,
    answers: Mapping[str, Answer],
    grades: Sequence[Grade],
    blanks: Mapping[str, Sequence[Grade]],
    config: VqaConfig,
) -> ModelResult:
    wanted = {each.key for each in questions(vqa, circular=config.circular, repeats=config.repeats)}
    relevant = [answer for key, answer in answers.items() if key in wanted]
    times = sorted(answer.seconds for answer in relevant if not answer.error)
    return ModelResult(
        name=contestant.name,
        run=str(run),
        asked=asked,
        errors=sum(bool(answer.error) for answer in relevant),
        total=retention.scored(grades),
        plain=retention.scored(grade(vqa, answers)) if config.circular else None,
        by_skill=_parts(grades, lambda each: each.item.skill),
        by_language=_parts(grades, lambda each: each.item.language),
        blank=retention.scored(blanks.get(contestant.name, ())),
        points=_points(grades),
        agreement=agreement(vqa, relevant) if config.repeats > 1 else None,
        seconds=times[len(times) // 2] if times else None,
    )


def _points(grades: Sequence[Grade]) -> dict[str, float]:
    """MME's points, where the set is of its kind: two yes-no questions to each image."""
    if {each.item.scorer for each in grades} != {"yes_no"} or not all("question_id" in g.item.meta for g in grades):
        return {}
    return mme_points((each.item.skill, each.item.meta["question_id"], each.value) for each in grades)


def _parts(grades: Sequence[Grade], key: Callable[[Grade], str]) -> dict[str, Scored]:
    return {name: retention.scored(part) for name, part in retention.by(grades, key).items()}


def _retention(
    grades: Mapping[str, Sequence[Grade]], blanks: Mapping[str, Sequence[Grade]], base: str, tuned: Sequence[str]
) -> dict[str, Retention]:
    floor = blanks.get(base, ())
    found = {name: retention.compare(grades[base], grades[name], floor) for name in tuned}
    return retention.corrected({name: kept for name, kept in found.items() if kept})


def _pairs(grades: Mapping[str, Sequence[Grade]], tuned: Sequence[str]) -> tuple[tuple[str, str, Retention], ...]:
    """The first fine-tuned model against each of the others."""
    found = {other: retention.compare(grades[other], grades[tuned[0]]) for other in tuned[1:]}
    kept = retention.corrected({other: each for other, each in found.items() if each})
    return tuple((tuned[0], other, each) for other, each in kept.items())


def _by_skill(
    grades: Mapping[str, Sequence[Grade]], blanks: Mapping[str, Sequence[Grade]], base: str, tuned: Sequence[str]
) -> dict[str, dict[str, Retention]]:
    parts = {name: retention.by(each, lambda grade: grade.item.skill) for name, each in grades.items()}
    floor = blanks.get(base, ())
    result = {}
    for name in tuned:
        pairs = ((skill, parts[base].get(skill, ()), part) for skill, part in parts[name].items())
        found = {skill: retention.compare(old, new, floor) for skill, old, new in pairs}
        result[name] = retention.corrected({skill: kept for skill, kept in found.items() if kept})
    return result


def _run_name(contestant: Contestant, config: VqaConfig) -> str:
    """Folder of the answers of one model, asked in one way."""
    asking = _unusual(asdict(_sampling(config)), asdict(_sampling(VqaConfig())))
    return f"{_safe(contestant.name)}-{contestant.fingerprint or 'unknown'}" + (f"-{asking}" if asking else "")


def _report_file(place: Path, report: Mapping[str, Any], config: VqaConfig) -> Path:
    """Where a comparison is kept: in the report of its way of asking, unless that one says more."""
    name = "report-circular" if config.circular else "report"
    ways = [asdict(_sampling(each)) | {"repeats": each.repeats} for each in (config, VqaConfig())]
    if asking := _unusual(*ways):
        name += f"_{asking}"
    if _says_more(place / f"{name}.json", report):
        name += "_" + _digest([list(report["scores"]), config.limit, config.blank])
    return place / f"{name}.json"


def _says_more(path: Path, report: Mapping[str, Any]) -> bool:
    """Is a stored comparison with another base, or of models, questions or grey pictures that the new one lacks?"""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return (
            stored["base"] != report["base"]
            or not stored["scores"].keys() <= report["scores"].keys()
            or stored["questions"] > report["questions"]
            or _has_blank(stored) > _has_blank(report)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or a damaged one
        return False


def _has_blank(report: Mapping[str, Any]) -> bool:
    return any("blank" in row for row in report["scores"].values())


def _sampling(config: VqaConfig) -> Sampling:
    return Sampling(temperature=config.temperature, seed=config.seed, max_new_tokens=config.max_new_tokens)


def _unusual(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """8 hex digits of the settings that are not the usual ones; "" where all are."""
    other = {name: value for name, value in settings.items() if value != usual[name]}
    return _digest(other) if other else ""


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "set"
