"""Questions about images, whatever file they came from. Plain values; images are read when they are asked for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vlm2vla.evaluation.pictures import Picture

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        id: Unique in its set.
        question: As the set words it, without options and without any order how to answer.
        answers: Accepted answers, the canonical one first. For lettered options: the text of the right one.
        scorer: Name in `scorers.SCORERS`.
        pictures: What is shown, in order; empty for a question of text alone.
        options: The possible answers, in the set's order; empty where the answer is free.
        lettered: The options are shown as A, B, C and a letter is asked for.
        hint: Context that is shown before the question.
        skill, language: What is asked, in which language; "" where the set does not say.
        group: What is resampled together: questions about one image are not independent.
        circular_of: Base question, where the set itself holds the rotated copies of a question; else "".
        meta: Plain values that aggregate scores need (MME: "category"; ChartQA: "split").
    """

    id: str
    question: str
    answers: tuple[str, ...]
    scorer: str
    pictures: tuple[Picture, ...] = ()
    options: tuple[str, ...] = ()
    lettered: bool = False
    hint: str = ""
    skill: str = ""
    language: str = ""
    group: str = ""
    circular_of: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def correct(self) -> int:
        """Index of the right option; -1 where there are none."""
        return self.options.index(self.answers[0]) if self.lettered else -1

    @property
    def chance(self) -> float:
        """Expected score of a guess: one of the options, yes or no; 0 where the answer is free."""
        if self.options:
            return 1 / len(self.options)
        return 0.5 if self.scorer == "yes_no" else 0.0

    @property
    def unit(self) -> str:
        """What is one question when rotated copies count as one."""
        return self.circular_of or self.id

    @property
    def cluster(self) -> str:
        """Key of what is resampled together."""
        return self.group or self.unit


@dataclass(frozen=True)
class VqaSet:
    """A VQA set.

    Attributes:
        name: For people and for folders.
        source: Where it was read.
        items: Its questions.
        problems: (row, message) of rows that cannot be asked; they are left out, and said.
        suffix: Order how to answer, behind each question without lettered options; "" asks the question as it is.
    """

    name: str
    source: str
    items: tuple[Item, ...]
    problems: tuple[tuple[str, str], ...] = ()
    suffix: str = ""

    @property
    def digest(self) -> str:
        """12 hex digits of what is asked and what is right; images count by their source."""
        hashed = hashlib.sha256(self.suffix.encode())
        for item in self.items:
            hashed.update(repr((item.id, item.question, item.hint, item.options, item.answers, item.scorer)).encode())
            for picture in item.pictures:
                hashed.update(picture.digest.encode())
        return hashed.hexdigest()[:12]

    def first(self, limit: int) -> "VqaSet":
        """The same set with at most `limit` questions, spread evenly over it; all of them for 0."""
        if not limit or limit >= len(self.items):
            return self
        units = list(dict.fromkeys(item.unit for item in self.items))
        kept = set(_spread(units, limit))
        return VqaSet(
            self.name,
            self.source,
            tuple(item for item in self.items if item.unit in kept),
            self.problems,
            self.suffix,
        )


def _spread(values: Sequence[str], count: int) -> list[str]:
    return [values[index * len(values) // count] for index in range(min(count, len(values)))]
