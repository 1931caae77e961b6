"""Answers are stored before anything is graded: one line each, as they come, so that a killed run loses nothing.

RUN/
  run.json        what was asked of whom: model, set, wording, sampling
  answers.jsonl   {"key", "item", "rotation", "repeat", "answer", "logprob", "seconds", "error"}
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from vlm2vla.errors import EvaluationError, ModelError
from vlm2vla.evaluation.asking import Asked
from vlm2vla.evaluation.lines import Lines, read_lines
from vlm2vla.evaluation.progress import Progress
from vlm2vla.vlm.chat import ChatModel, Message, Sampling

_ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class Answer:
    """What a model said to one question.

    Attributes:
        key: Of the question (`Asked.key`), unique in a run.
        item: Id of the item; `rotation` and `repeat` as in `Asked`.
        answer: The text.
        logprob: Sum over its tokens; None where it is not told.
        seconds: How long it took (an equal share, where it came in a batch).
        error: Why there is no answer, or "".
    """

    key: str
    item: str
    rotation: int = 0
    repeat: int = 0
    answer: str = ""
    logprob: float | None = None
    seconds: float = 0.0
    error: str = ""


class AnswerFile:
    """The stored answers of one run.

    Args:
        folder: Of the run; made when missing.
        about: What is asked of whom. A folder that holds answers to something else is refused.

    Raises:
        EvaluationError: The folder belongs to another run, or is damaged.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]):
        self._lines = Lines(folder, _ANSWERS, about)
        self.folder = folder

    def read(self) -> dict[str, Answer]:
        """Answers by key; the last one counts where an error was tried again."""
        return {answer.key: answer for answer in read_answers(self.folder)}

    @contextmanager
    def writing(self) -> Iterator[Callable[[Answer], None]]:
        """Gives a function that appends an answer; only one process at a time.

        Raises:
            EvaluationError: Another process writes here.
        """
        with self._lines.writing() as add:
            yield lambda answer: add({key: value for key, value in asdict(answer).items() if value not in ("", None)})


def read_answers(folder: Path) -> list[Answer]:
    """Stored answers in the order in which they came; a last line that was cut off by a kill is no answer.

    Raises:
        EvaluationError: Another line is damaged.
    """
    path = folder / _ANSWERS
    try:
        return [Answer(**row) for row in read_lines(path)]
    except TypeError as error:
        raise EvaluationError(f"{path} holds a line that is no answer: {error}") from error


def answer_all(
    model: ChatModel,
    questions: Iterable[Asked],
    file: AnswerFile,
    *,
    suffix: str = "",
    blank: bool = False,
    sampling: Sampling | None = None,
    batch: int = 8,
    retry_failed: bool = False,
    stopped: threading.Event | None = None,
    progress: Progress = None,
) -> int:
    """Ask what was not answered yet, and store each answer as it comes.

    A model with a method `answer_all` (see `LocalModels.answer_all`) gets `batch` questions at once; others get them
    one by one, or side by side when they say so (`concurrency`).

    Args:
        model: Who is asked.
        questions: What.
        file: Where answers go; what it holds is not asked again.
        suffix: See `Asked.messages`.
        blank: Show grey pictures.
        sampling: How; greedy, 32 tokens, when None.
        batch: Questions at once.
        retry_failed: Ask again what ended with an error.
        stopped: Set from outside to end after the batch that is under way.
        progress: Called with (done, total).

    Returns:
        How many were asked now.

    Raises:
        EvaluationError: Another process writes into the folder.
    """
    sampling = sampling or Sampling(max_new_tokens=32)
    with file.writing() as write:
        known = file.read()
        every = list(questions)
        waiting = iter(asked for asked in every if asked.key not in known or (retry_failed and known[asked.key].error))
        done = sum(asked.key in known for asked in every)
        count = 0
        if progress:
            progress(done, len(every))
        while not (stopped and stopped.is_set()) and (together := list(islice(waiting, batch))):
            for answer in _ask(model, together, suffix, blank, sampling):
                write(answer)
                count += 1
            if progress:
                progress(min(len(every), done + count), len(every))
    return count


def _ask(model: ChatModel, together: Sequence[Asked], suffix: str, blank: bool, sampling: Sampling) -> Iterator[Answer]:
    ready: list[tuple[Asked, tuple[Message, ...]]] = []
    for asked in together:
        try:
            ready.append((asked, asked.messages(suffix, blank=blank)))
        except EvaluationError as error:
            yield _answer(asked, error=str(error))
    if hasattr(model, "answer_all"):
        yield from _batched(model, ready, sampling)
        return
    workers = min(getattr(model, "concurrency", 1), max(1, len(ready)))
    if workers == 1:
        for asked, messages in ready:
            yield _one(model, asked, messages, sampling)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda pair: _one(model, *pair, sampling), ready)


def _one(model: ChatModel, asked: Asked, messages: Sequence[Message], sampling: Sampling) -> Answer:
    began = time.perf_counter()
    try:
        tokens = list(model.stream(messages, _seeded(sampling, asked)))
    except ModelError as error:
        return _answer(asked, error=f"{type(error).__name__}: {error}")
    text = "".join(token.text for token in tokens)
    return _answer(asked, text, time.perf_counter() - began, sum(token.logprob for token in tokens))


def _batched(model: Any, ready: Sequence[tuple[Asked, Sequence[Message]]], sampling: Sampling) -> Iterator[Answer]:
    """One batch per repetition, since a batch has one seed."""
    for repeat in sorted({asked.repeat for asked, _ in ready}):
        rows = [(asked, messages) for asked, messages in ready if asked.repeat == repeat]
        began = time.perf_counter()
        for index, said in model.answer_all([messages for _, messages in rows], _seeded(sampling, rows[0][0])):
            asked = rows[index][0]
            if isinstance(said, ModelError):
                yield _answer(asked, error=f"{type(said).__name__}: {said}")
            else:
                yield _answer(asked, said, (time.perf_counter() - began) / len(rows))


def _seeded(sampling: Sampling, asked: Asked) -> Sampling:
    return replace(sampling, seed=sampling.seed + asked.repeat)


def _answer(
    asked: Asked, text: str = "", seconds: float = 0.0, logprob: float = math.nan, *, error: str = ""
) -> Answer:
    return Answer(
        key=asked.key,
        item=asked.item.id,
        rotation=asked.rotation,
        repeat=asked.repeat,
        answer=text,
        logprob=round(logprob, 4) if text and math.isfinite(logprob) else None,
        seconds=round(seconds, 4),
        error=error,
    )
