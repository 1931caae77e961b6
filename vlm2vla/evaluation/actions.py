"""Open loop: the chunk that a model writes for a recorded moment, against what the robot did there.

ACTIONS/<data>/<model>-<fingerprint>/rows.jsonl: one written plan and chunk a line; graded afterwards, like answers.

A small error here is no success: nothing moved. It tells format (does the text parse), direction and size.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import ActionParseError, ModelError
from vlm2vla.evaluation.lines import Lines
from vlm2vla.evaluation.progress import Progress
from vlm2vla.evaluation.statistics import Interval, mean_of_groups
from vlm2vla.language import ActionForm, Turn, dialogue
from vlm2vla.types import ActionChunk
from vlm2vla.vlm.chat import ChatModel, Message, Sampling
from vlm2vla.vlm.protocol import ImagePart

ROWS = "rows.jsonl"
MOVED_CM = 1.0
"""Axes along which the recording moved less than this have no direction to agree with."""
_PLAN, _CHUNK = Sampling(max_new_tokens=120), Sampling(max_new_tokens=900)


@dataclass(frozen=True, eq=False)
class Moment:
    """A recorded moment, and what followed.

    Attributes:
        id: Unique in its data.
        group: The episode; its moments are not independent.
        image: What was seen.
        instruction, subtask: What was to be done.
        plan: Motion plan of what followed.
        chunk: What followed, as far as the subtask lasted.
        embodiment: The robot.
        measured: The plan with centimetres; "" where no plan says so much motion.
    """

    id: str
    group: str
    image: ImagePart
    instruction: str
    subtask: str
    plan: str
    chunk: ActionChunk
    embodiment: Embodiment
    measured: str = ""


@dataclass(frozen=True)
class ActionGrade:
    """One written chunk against the recorded one.

    Attributes:
        id, group: Of the moment.
        parsed: It is in the action language; the rest is None where it is not.
        row_cm: Mean distance between rows at the same place of both lists, centimetres.
        total_cm: Distance between the sums of both chunks.
        still_cm: The same for a robot that holds still: what `total_cm` must stay below to be of use.
        direction: Share of the axes along which the recording moved 1 cm or more whose sign agrees.
        gripper: The gripper ends alike.
        rows, recorded_rows: Lengths.
    """

    id: str
    group: str
    parsed: bool
    row_cm: float | None = None
    total_cm: float | None = None
    still_cm: float | None = None
    direction: float | None = None
    gripper: bool | None = None
    rows: int = 0
    recorded_rows: int = 0


def write_all(
    model: ChatModel,
    moments: Sequence[Moment],
    words: ActionForm,
    file: Lines,
    *,
    plan: str = "own",
    batch: int = 8,
    retry_failed: bool = False,
    stopped: threading.Event | None = None,
    progress: Progress = None,
) -> int:
    """Let a model write plan and chunk of every moment that is not stored yet; greedy, nothing forced, no second try.

    Args:
        model: Who writes.
        moments: What is asked about.
        words: Form that is asked for.
        file: Where rows go.
        plan: "own": the model's plan stands before the chunk; "given": that of the moment.
        batch: Moments at once.
        retry_failed: Ask again what ended with an error.
        stopped: Set from outside to end after the batch under way.
        progress: Called with (done, total).

    Returns:
        How many were written now.

    Raises:
        EvaluationError: Another process writes into the folder.
    """
    with file.writing() as add:
        known = {row["id"] for row in file.read() if not (retry_failed and row.get("error"))}
        waiting = [moment for moment in moments if moment.id not in known]
        done = len(moments) - len(waiting)
        for start in range(0, len(waiting), batch):
            if stopped and stopped.is_set():
                return start
            some = waiting[start : start + batch]
            for row in _write(model, some, words, plan):
                add(row)
            if progress:
                progress(done + start + len(some), len(moments))
    return len(waiting)


def _write(model: ChatModel, moments: Sequence[Moment], words: ActionForm, plan: str) -> Iterator[dict[str, str]]:
    """Rows of some moments; without a plan there is no chunk."""
    plans: list[str | ModelError] = [moment.plan for moment in moments]
    if plan == "own":
        plans = answers(model, [_messages(moment, words) for moment in moments], _PLAN)
    planned = [index for index, text in enumerate(plans) if isinstance(text, str) and text.strip()]
    asked = [_messages(moments[index], words, str(plans[index])) for index in planned]
    chunks = dict(zip(planned, answers(model, asked, _CHUNK), strict=True))
    for index, (moment, text) in enumerate(zip(moments, plans, strict=True)):
        chunk = chunks.get(index, "")
        error = next((str(each) for each in (text, chunk) if isinstance(each, ModelError)), "")
        row = {"id": moment.id, "plan": str(text), "chunk": str(chunk)}
        yield {"id": moment.id, "error": error} if error else row


def answers(model: ChatModel, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str | ModelError]:
    """One answer to each conversation, in one batch where the model can."""
    found: dict[int, str | ModelError] = {}
    if hasattr(model, "answer_all"):
        found = dict(model.answer_all(conversations, sampling))
    else:
        for index, messages in enumerate(conversations):
            try:
                found[index] = "".join(token.text for token in model.stream(messages, sampling))
            except ModelError as error:
                found[index] = error
    return [found[index] for index in range(len(conversations))]


def with_images(turns: Sequence[Turn], *images: ImagePart) -> tuple[Message, ...]:
    """Turns of a dialogue with their images filled in, in order."""
    waiting: Iterator[ImagePart] = iter(images)
    return tuple(Message(turn.role, (*(next(waiting) for _ in range(turn.images)), turn.text)) for turn in turns)


def planned(moments: Sequence[Moment], plans: str) -> tuple[Moment, ...]:
    """The moments with recorded plans in "words" or "measured"; those that cannot be said so are left out."""
    if plans == "words":
        return tuple(moments)
    return tuple(replace(moment, plan=moment.measured) for moment in moments if moment.measured)


def _messages(moment: Moment, words: ActionForm, plan: str = "") -> tuple[Message, ...]:
    """Asks for the plan, or for the chunk where there is a plan."""
    turns = dialogue(moment.instruction, moment.embodiment, words, subtask=moment.subtask, plan=plan.strip())
    return with_images(turns, moment.image)


def grade(moments: Sequence[Moment], rows: Sequence[Mapping[str, Any]], words: ActionForm) -> tuple[ActionGrade, ...]:
    """Grade what was written; moments without a row, or whose row is an error of the model, are left out."""
    said = {row["id"]: row for row in rows if not row.get("error")}
    return tuple(grade_one(moment, said[moment.id]["chunk"], words) for moment in moments if moment.id in said)


def grade_one(moment: Moment, text: str, words: ActionForm) -> ActionGrade:
    """One chunk against the recorded one."""
    recorded = moment.chunk
    try:
        written = words.parse(text)
    except ActionParseError:
        return ActionGrade(moment.id, moment.group, False, recorded_rows=len(recorded))
    count = min(len(written), len(recorded))
    apart = 100 * np.linalg.norm(written.rows[:count, :3] - recorded.rows[:count, :3], axis=1)
    total, wanted = 100 * written.translation, 100 * recorded.translation
    axes = np.abs(wanted) >= MOVED_CM
    agree = np.sign(np.where(np.abs(total) < MOVED_CM / 4, 0, total)) == np.sign(wanted)
    ends = bool(written.gripper[-1] == recorded.gripper[-1]) if len(written) and len(recorded) else None
    return ActionGrade(
        id=moment.id,
        group=moment.group,
        parsed=True,
        row_cm=float(apart.mean()) if count else None,
        total_cm=float(np.linalg.norm(total - wanted)),
        still_cm=float(np.linalg.norm(wanted)),
        direction=float(agree[axes].mean()) if axes.any() else None,
        gripper=ends,
        rows=len(written),
        recorded_rows=len(recorded),
    )


def likelihood(model: ChatModel, moments: Sequence[Moment], words: ActionForm, tokens: ActionForm) -> dict[str, Any]:
    """How probable recorded chunks are for a model, in words and in tokens: the paper's argument for words.

    Returns:
        "words" and "tokens": number of chunks, mean log-probability of a whole chunk and of one token, mean length;
        "difference": words minus tokens for a whole chunk, with its interval over episodes.

    Raises:
        ModelError: The model cannot score text.
    """
    sums: dict[str, list[float]] = {"words": [], "tokens": []}
    lengths: dict[str, list[int]] = {"words": [], "tokens": []}
    for moment in moments:
        for name, form in (("words", words), ("tokens", tokens)):
            scored = model.score(_messages(moment, form, moment.plan), form.verbalize(moment.chunk))
            sums[name].append(sum(token.logprob for token in scored))
            lengths[name].append(len(scored))
    pairs = zip(moments, sums["words"], sums["tokens"], strict=True)
    told = {
        name: {
            "chunks": len(sums[name]),
            "per_chunk": round(float(np.mean(sums[name])), 3),
            "per_token": round(sum(sums[name]) / max(1, sum(lengths[name])), 4),
            "tokens": round(float(np.mean(lengths[name])), 1),
        }
        for name in sums
    }
    gaps = [(moment.group, first - second) for moment, first, second in pairs]
    return told | {"difference": mean_of_groups(gaps).to_json()}


@dataclass(frozen=True)
class ActionScores:
    """One model over many moments; means, with intervals by resampling episodes.

    Attributes:
        moments: How many were written.
        parse_rate: Share that is in the action language, greedy and without help.
        row_cm, total_cm, still_cm, direction, gripper: See `ActionGrade`; over what parsed.
        median_total_cm: The usual error, which a few wild chunks do not move.
        rows, recorded_rows: Mean lengths.
    """

    moments: int
    parse_rate: Interval | None
    row_cm: Interval | None
    total_cm: Interval | None
    still_cm: Interval | None
    direction: Interval | None
    gripper: Interval | None
    median_total_cm: float | None
    rows: float | None
    recorded_rows: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, rounded."""
        return {
            key: getattr(self, key).to_json() if isinstance(getattr(self, key), Interval) else value
            for key, value in asdict(self).items()
        }


def summed(grades: Sequence[ActionGrade]) -> ActionScores:
    """All of them together."""
    parsed = [each for each in grades if each.parsed]
    totals = [each.total_cm for each in parsed]
    return ActionScores(
        moments=len(grades),
        parse_rate=_mean(grades, lambda each: float(each.parsed)),
        row_cm=_mean(parsed, lambda each: each.row_cm),
        total_cm=_mean(parsed, lambda each: each.total_cm),
        still_cm=_mean(parsed, lambda each: each.still_cm),
        direction=_mean(parsed, lambda each: each.direction),
        gripper=_mean(parsed, lambda each: None if each.gripper is None else float(each.gripper)),
        median_total_cm=round(float(np.median(totals)), 3) if totals else None,
        rows=round(float(np.mean([each.rows for each in parsed])), 2) if parsed else None,
        recorded_rows=round(float(np.mean([each.recorded_rows for each in grades])), 2) if grades else None,
    )


def _mean(grades: Sequence[ActionGrade], value: Callable[[ActionGrade], float | None]) -> Interval | None:
    rows = [(each.group, number) for each in grades if (number := value(each)) is not None]
    return mean_of_groups(rows) if rows else None


def run_folder(root: Path, data: str, model: str, fingerprint: str, form: str, plan: str) -> Lines:
    """Where the rows of one model about one set of moments are kept; `plan` is own, given-words or given-measured.

    Raises:
        EvaluationError: The folder is damaged.
    """
    about = {"data": data, "model": model, "fingerprint": fingerprint, "form": form, "plan": plan}
    safe = model.replace("/", "-").strip("-.")
    return Lines(root / "actions" / data / f"{safe}-{fingerprint}-{plan}", ROWS, about)
