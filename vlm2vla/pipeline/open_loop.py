"""Open-loop evaluation: recorded moments, pairs of moments and first images become questions to models."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from vlm2vla.annotation.derive import chunk_of, derive_plan, span_actions
from vlm2vla.annotation.kinematic import KinematicAnnotator
from vlm2vla.annotation.pairs import completed_pairs
from vlm2vla.config import LanguageConfig, RecordConfig
from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import AnnotationError, EvaluationError, ModelError, TrajectoryError
from vlm2vla.evaluation.actions import Moment, grade, likelihood, planned, run_folder, summed, write_all
from vlm2vla.evaluation.config import ActionsConfig, names_of
from vlm2vla.evaluation.levels import (
    Completion,
    Task,
    ask_completions,
    ask_subtasks,
    grade_completions,
    grade_subtasks,
)
from vlm2vla.evaluation.lines import read_lines
from vlm2vla.evaluation.suite import SUITES
from vlm2vla.language import ActionForm, even_rows, form, make_form, measured_plan
from vlm2vla.pipeline.evaluating import Opener
from vlm2vla.pipeline.recording import record
from vlm2vla.pipeline.store import Progress
from vlm2vla.trajectories import read
from vlm2vla.types import ActionChunk, Episode
from vlm2vla.vlm.chat import ChatModel
from vlm2vla.vlm.identity import identity
from vlm2vla.vlm.origin import Origin, read_origin
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.vlm.registry import ModelEntry
from vlm2vla.workspace import Workspace, write_atomic

HELD_OUT_SEED = 3_000_000
"""Seeds of held-out recordings: apart from training (1,000,000) and from rollouts (below 100,000)."""
RECORDED = ("pick-up", "pick-and-place", "pick-place-lift")
_LANGUAGE, _TOKENS = "rows:0.5cm", "tokens:0.5cm"
_LIKELIHOODS = 40
# Recordings without misses on purpose; they have folders of their own beside earlier ones that hold some.
_NO_MISSES = "-no-misses"


@dataclass(frozen=True)
class Questions:
    """Everything that models are asked about one set of recordings.

    Attributes:
        name: Of the recordings, for folders.
        moments: For the chunks.
        completions: For the verifier.
        tasks: For the lists of subtasks; empty where their truth is not known.
    """

    name: str
    moments: tuple[Moment, ...]
    completions: tuple[Completion, ...]
    tasks: tuple[Task, ...]


def evaluate_actions(
    config: ActionsConfig,
    workspace: Workspace,
    progress: Progress = None,
    *,
    stopped: threading.Event | None = None,
) -> dict[str, Any]:
    """Ask models about recorded moments and grade what they write.

    Returns:
        Plain JSON values: {"data", "moments", "models": {name: {"actions", "verifier", "subtasks", ...}}}.

    Raises:
        NotFoundError: No such model.
        FormatError: The path holds no recordings.
        EvaluationError: There is nothing to ask about.
    """
    opener = Opener(workspace)
    entries = [opener.registry.get(name) for name in names_of(config.models)]
    forms = {entry.name: _form_of(entry) for entry in entries}
    with_rotation = {words.rotation for words in forms.values()}
    questions = {rotation: questions_of(config, workspace, rotation=rotation) for rotation in with_rotation}
    report: dict[str, Any] = {}
    for entry in entries:
        model, words, plans = opener.open(entry), forms[entry.name], config.plans or _plans_of(entry)
        asked, given = questions[words.rotation], planned(questions[words.rotation].moments, plans)
        moments, plan = (asked.moments, "own") if config.plan == "own" else (given, f"given-{plans}")
        if not moments:
            raise EvaluationError(f"{config.data} has no plan that can be said with centimetres: take --plans words")
        file = run_folder(workspace.evaluations, asked.name, entry.name, identity(entry), words.name, plan)
        again = config.retry_failed
        write_all(model, moments, words, file, plan=config.plan, retry_failed=again, stopped=stopped, progress=progress)
        scores: dict[str, Any] = {
            "actions": summed(grade(moments, file.read(), words)).to_json(),
            "still": round(_still(moments), 3),
            "plan": plan,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "run": str(file.folder),
        }
        if config.verifier:
            scores |= _levels(model, asked, words, file.folder, again)
        if config.likelihood:
            scores["likelihood"] = _likelihood(model, given, words)
        stored = {"model": entry.name, "data": asked.name} | scores
        write_atomic(file.folder / "scores.json", json.dumps(stored, indent=1))
        report |= {"data": asked.name, "moments": len(asked.moments)}
        report["models"] = report.get("models", {}) | {entry.name: scores}
    return report


def _form_of(entry: ModelEntry) -> ActionForm:
    """The form in which a model was trained, as far as its weights tell."""
    return form(entry.writes or _LANGUAGE)


def _plans_of(entry: ModelEntry) -> str:
    """In which words a model was taught plans: what its training run says, else a guess (see `ActionsConfig.plans`)."""
    run = Path(entry.path).parent / "config.json" if entry.local and entry.path else None
    if run is not None and _origin_of(entry) and run.is_file():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(run.read_text(encoding="utf-8"))["recipe"]["plans"])
    return "measured" if entry.shipped else "words"


def _origin_of(entry: ModelEntry) -> Origin | None:
    return read_origin(Path(entry.path)) if entry.local and entry.path else None


def questions_of(config: ActionsConfig, workspace: Workspace, *, rotation: bool = False) -> Questions:
    """The moments, pairs and tasks that a config asks about.

    Args:
        config: Which.
        workspace: Where held-out episodes are kept.
        rotation: Chunks and plans say rotation as well.

    Raises:
        FormatError: The path holds no recordings.
        EvaluationError: There is nothing to ask about.
    """
    simulated = config.data == "simulated"
    if simulated:
        name, episodes = f"simulated-{config.episodes}{_NO_MISSES}", _held_out(config, workspace)
    else:
        path = Path(config.data).expanduser()
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name or "data").strip("-.") or "data"
        problems: list[TrajectoryError] = []
        episodes = islice(read(path, on_error=problems.append), config.episodes or None)
    annotator = KinematicAnnotator(LanguageConfig(), recorded=True)
    moments: list[Moment] = []
    completions: list[Completion] = []
    for episode in episodes:
        annotated = annotator.annotate(episode)
        for subtask in annotated.subtasks:
            span = subtask.start_step, subtask.end_step
            moments += _moments(episode, subtask.text, *span, config.row_cm, rotation)
        for number, pair in enumerate(completed_pairs(annotated, episode)):
            first, second = (ImagePart(episode.frame(step)) for step in (pair.before_step, pair.after_step))
            completions.append(
                Completion(
                    f"{episode.id}/{number}",
                    episode.id,
                    first,
                    second,
                    episode.instruction,
                    pair.text,
                    pair.completed,
                    episode.embodiment,
                )
            )
    if not moments:
        raise EvaluationError(f"{config.data} holds no moment after which something moved")
    chosen = [moments[index * len(moments) // config.limit] for index in range(min(config.limit, len(moments)))]
    tasks = tuple(_tasks()) if simulated and config.verifier else ()
    return Questions(name, tuple(chosen or moments), tuple(completions) if config.verifier else (), tasks)


def _held_out(config: ActionsConfig, workspace: Workspace) -> Iterator[Episode]:
    """Episodes of the expert at held-out seeds, recorded when they are asked for the first time.

    Without misses on purpose: nobody who has only one image can foresee one.
    """
    share = -(-(config.episodes or 1) // len(RECORDED))
    for family in RECORDED:
        out = workspace.evaluations / "held-out" / f"{family}-{share}{_NO_MISSES}"
        if not (out / "meta" / "info.json").is_file():
            wanted = RecordConfig(
                out, task=family, count=share, seed=HELD_OUT_SEED, cameras=("external",), mistakes=0.0
            )
            record(wanted, workspace, None)
        yield from read(out, dataset=f"held-out-{family}")


def _moments(
    episode: Episode, text: str, start: int, end: int, row_cm: float, rotation: bool = False
) -> Iterator[Moment]:
    """The beginning of a subtask and its middle, told from the numbers."""
    language = LanguageConfig(form="rows7" if rotation else "rows")
    for step in dict.fromkeys((start, (start + end) // 2)):
        rows, before = span_actions(episode, step, end, language)
        chunk = chunk_of(rows, before, language, rotation=rotation)
        try:
            chunk = even_rows(chunk, row_cm=row_cm) if row_cm and len(chunk) else chunk
            measured = _measured(chunk)
            chunk = make_form(language).quantize(chunk)
            plan = derive_plan(episode, step, end, language)
        except AnnotationError:  # more motion than a chunk may say
            continue
        if len(chunk) and plan.strip():
            yield Moment(
                f"{episode.id}/{step}",
                episode.id,
                ImagePart(episode.frame(step)),
                episode.instruction,
                text,
                plan,
                chunk,
                episode.embodiment,
                measured,
            )


def _measured(chunk: ActionChunk) -> str:
    """The plan with centimetres; "" where no plan says so much motion."""
    try:
        return measured_plan(chunk)
    except AnnotationError:
        return ""


def _tasks(per_family: int = 8) -> Iterator[Task]:
    """First images of tasks of every family, with the subtasks that the scripted expert goes by."""
    from vlm2vla.simulation import World
    from vlm2vla.simulation.expert import Expert
    from vlm2vla.simulation.tasks import make_task

    world = None
    try:
        for family in SUITES["paper"]:
            for seed in range(per_family):
                scene, task = make_task(family, seed)
                world = world or World(scene)
                world.reset(scene)
                image = ImagePart(next(iter(world.robot.observe().images.values())))
                true = Expert(task, scene, seed).subtasks
                yield Task(f"{family}/{seed}", f"{family}/{seed}", family, image, task.instruction, true, STRETCH_RE1)
    finally:
        if world is not None:
            world.close()


def _levels(model: ChatModel, asked: Questions, words: ActionForm, folder: Path, again: bool) -> dict[str, Any]:
    """Verifier and decomposition; their answers are kept beside the chunks."""
    said = _answers(folder / "completions.jsonl", asked.completions, partial(ask_completions, model), again)
    listed = _answers(folder / "subtasks.jsonl", asked.tasks, partial(ask_subtasks, model, words=words), again)
    families = {task.family: [each for each in asked.tasks if each.family == task.family] for task in asked.tasks}
    return {
        "verifier": _json(grade_completions(asked.completions, said)),
        "subtasks": _json(grade_subtasks(asked.tasks, listed)) if asked.tasks else None,
        "subtasks_by_family": {name: _json(grade_subtasks(tasks, listed)) for name, tasks in families.items()},
    }


def _answers(
    path: Path,
    wanted: Sequence[Completion | Task],
    ask: Callable[[Sequence[Any]], list[dict[str, Any]]],
    again: bool,
) -> list[dict[str, Any]]:
    """Stored answers to these questions, and new ones where there are none; with `again` also where they failed."""
    known = {row["id"]: row for row in read_lines(path) if not (again and row.get("error"))}
    known |= {row["id"]: row for row in ask([each for each in wanted if each.id not in known])}
    rows = [known[each.id] for each in wanted]
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return rows


def _likelihood(model: ChatModel, moments: Sequence[Moment], words: ActionForm) -> Mapping[str, Any] | None:
    """Log-probability of recorded chunks in words and in tokens; None where the model cannot score.

    The words are those of the model's own form; a form with rotation says more than tokens can, and is not compared.
    """
    some = moments[:: max(1, len(moments) // _LIKELIHOODS)][:_LIKELIHOODS]
    if words.rotation or not some:
        return None
    try:
        if words.name.startswith("tokens"):
            return likelihood(model, some, form(_LANGUAGE), words)
        return likelihood(model, some, words, form(_TOKENS))
    except ModelError:
        return None


def _still(moments: Sequence[Moment]) -> float:
    """Mean way that recorded chunks lead, centimetres: the error of holding still."""
    return sum(100 * float((moment.chunk.translation**2).sum() ** 0.5) for moment in moments) / len(moments)


def _json(scores: Any) -> dict[str, Any]:
    return {
        key: getattr(scores, key).to_json() if hasattr(getattr(scores, key), "to_json") else value
        for key, value in asdict(scores).items()
    }
