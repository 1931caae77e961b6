"""The other levels of the hierarchy: is a subtask done (verifier), and which subtasks does a task have.

Both are graded against the truth of the simulator, which recordings carry as their subtasks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import ActionParseError, ModelError
from vlm2vla.evaluation.actions import answers, with_images
from vlm2vla.evaluation.scorers.text import plain
from vlm2vla.evaluation.scorers.yes_no import meaning
from vlm2vla.evaluation.statistics import Interval, mean_of_groups
from vlm2vla.language import ActionForm, completed_dialogue, dialogue, parse_subtasks
from vlm2vla.vlm.chat import ChatModel, Sampling
from vlm2vla.vlm.protocol import ImagePart

# Words that tell no object and no deed.
_EMPTY = frozenset(
    ("the", "a", "an", "of", "to", "in", "on", "onto", "into", "at", "from", "and", "it", "then", "up", "down", "over")
)
_BATCH = 8


@dataclass(frozen=True, eq=False)
class Completion:
    """Two moments of a subtask: was it completed between them?"""

    id: str
    group: str
    before: ImagePart
    after: ImagePart
    instruction: str
    subtask: str
    completed: bool
    embodiment: Embodiment


@dataclass(frozen=True, eq=False)
class Task:
    """The first image of a task, and its true subtasks.

    Attributes:
        family: Task family; `group` is its seed or episode.
    """

    id: str
    group: str
    family: str
    image: ImagePart
    instruction: str
    subtasks: tuple[str, ...]
    embodiment: Embodiment


@dataclass(frozen=True)
class VerifierScores:
    """How often a model knows whether a subtask is done.

    Attributes:
        questions, unclear: How many; and to how many the answer was neither yes nor no (they count as wrong).
        accuracy: Over all of them.
        done, not_done: Share of right answers where the subtask is done, and where it is not.
        balanced: Mean of the two: 0.5 for whoever always says the same.
    """

    questions: int
    unclear: int
    accuracy: Interval | None
    done: Interval | None
    not_done: Interval | None
    balanced: float | None


@dataclass(frozen=True)
class DecompositionScores:
    """How well a model lists the subtasks of a task.

    Attributes:
        tasks: How many.
        unreadable: Answers that are no list (they count as wrong).
        exact: Share of lists that are word for word the true ones.
        keywords: Mean share of subtasks found in order by their words, as the paper matches keywords.
    """

    tasks: int
    unreadable: int
    exact: Interval | None
    keywords: Interval | None


def ask_completions(model: ChatModel, questions: Sequence[Completion]) -> list[dict[str, Any]]:
    """One row per question: {"id", "answer", "error"}."""
    return _ask(
        model,
        questions,
        lambda each: with_images(
            completed_dialogue(each.instruction, each.subtask, each.embodiment, None), each.before, each.after
        ),
        Sampling(max_new_tokens=8),
    )


def ask_subtasks(model: ChatModel, tasks: Sequence[Task], words: ActionForm) -> list[dict[str, Any]]:
    """One row per task: {"id", "answer", "error"}."""
    return _ask(
        model,
        tasks,
        lambda each: with_images(dialogue(each.instruction, each.embodiment, words), each.image),
        Sampling(max_new_tokens=200),
    )


def grade_completions(questions: Sequence[Completion], rows: Sequence[dict[str, Any]]) -> VerifierScores:
    """Against the truth."""
    said = {row["id"]: meaning(row["answer"]) for row in rows if not row.get("error")}
    asked = [each for each in questions if each.id in said]
    right = [(each, float(said[each.id] == ("yes" if each.completed else "no"))) for each in asked]
    sides = [[(each.group, hit) for each, hit in right if each.completed is side] for side in (True, False)]
    done, not_done = (mean_of_groups(side) if side else None for side in sides)
    return VerifierScores(
        len(asked),
        sum(not said[each.id] for each in asked),
        mean_of_groups((each.group, hit) for each, hit in right) if right else None,
        done,
        not_done,
        round((done.value + not_done.value) / 2, 4) if done and not_done else None,
    )


def grade_subtasks(tasks: Sequence[Task], rows: Sequence[dict[str, Any]]) -> DecompositionScores:
    """Against the true subtasks."""
    said: dict[str, tuple[str, ...] | None] = {}
    for row in rows:
        if not row.get("error"):
            try:
                said[row["id"]] = parse_subtasks(row["answer"])
            except ActionParseError:
                said[row["id"]] = None
    asked = [task for task in tasks if task.id in said]
    lists = [(task, said[task.id] or ()) for task in asked]
    exact = [(task.group, float(_same(found, task.subtasks))) for task, found in lists]
    shares = [(task.group, matched(found, task.subtasks)) for task, found in lists]
    return DecompositionScores(
        len(asked),
        sum(said[task.id] is None for task in asked),
        mean_of_groups(exact) if exact else None,
        mean_of_groups(shares) if shares else None,
    )


def _same(found: Sequence[str], true: Sequence[str]) -> bool:
    return [plain(text) for text in found] == [plain(text) for text in true]


def matched(found: Sequence[str], true: Sequence[str]) -> float:
    """Longest run of true subtasks that occur in `found` in order, by their words, over the longer list's length."""
    if not found or not true:
        return 0.0
    best = [[0] * (len(true) + 1) for _ in range(len(found) + 1)]
    for i, given in enumerate(found, 1):
        for j, wanted in enumerate(true, 1):
            same = best[i - 1][j - 1] + 1 if _words(wanted) <= _words(given) else 0
            best[i][j] = max(same, best[i - 1][j], best[i][j - 1])
    return best[-1][-1] / max(len(found), len(true))


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower())) - _EMPTY


def _ask(model: ChatModel, questions: Sequence[Any], messages: Any, sampling: Sampling) -> list[dict[str, Any]]:
    rows = []
    for start in range(0, len(questions), _BATCH):
        some = questions[start : start + _BATCH]
        for each, said in zip(some, answers(model, [messages(each) for each in some], sampling), strict=True):
            error = str(said) if isinstance(said, ModelError) else ""
            rows.append({"id": each.id, "answer": "" if error else said, "error": error})
    return rows
