"""What one step of the language model sees: which pictures, which questions, in which kind of conversation.

Everything follows from the seed and the number of the step. Most rows ask many things about one picture; some begin
with the system text of the action dialogue, hold longer conversations, compare two pictures, or show none.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.language import dialogue, form
from vlm2vla.training.pretrain.pictures import PictureSet
from vlm2vla.training.pretrain.practice import exercise
from vlm2vla.training.pretrain.rows import Branch, Row

SYSTEMS = (
    dialogue("look", STRETCH_RE1, form("rows:0.5cm"))[0].text,
    "Answer briefly.",
    "You are a helpful assistant that looks at a table.",
)
# One look-up each, at the patches of one thing.
_FIRST = {"colour": 3.0, "shape": 3.0, "pointing": 3.0, "synonym": 2.0, "language": 2.0, "symbol": 2.0, "beside": 1.5}
_FIRST |= {"extreme": 1.5, "relation": 0.7, "count": 0.7, "region": 0.7, "size": 0.7, "offset": 1.0, "height": 0.5}
_FIRST |= {"gripper": 0.4, "caption": 0.1, "objects": 0.1}
# Two things compared, counted, or found by what is beside them; numbers with signs and halves.
_THEN = {"relation": 2.5, "count": 1.5, "beside": 2.0, "symbol": 1.5, "offset": 1.3, "extreme": 1.3}
_THEN |= {"colour": 0.5, "shape": 0.5, "exists": 0.6, "region": 0.6, "size": 0.6, "caption": 0.3, "objects": 0.4}


@dataclass(frozen=True)
class Shares:
    """How rows and branches are mixed.

    Attributes:
        text, pair: Share of rows without a picture, with two.
        system: Share of rows with a system text in front.
        longer: Share of branches with several turns.
        practice: Share of text branches that are exercises with the vocabulary of motion.
        first: Factor on the chance of each skill in the first steps, 1 where none is given: what must be found before
            anything else can be answered.
        first_steps: How many steps that is.
        then: The same for all later steps: more of what is learned late, less of what is known.
    """

    text: float = 0.15
    pair: float = 0.06
    system: float = 0.2
    longer: float = 0.15
    practice: float = 0.5
    first: Mapping[str, float] = field(default_factory=lambda: dict(_FIRST))
    first_steps: int = 1800
    then: Mapping[str, float] = field(default_factory=lambda: dict(_THEN))


class Mix:
    """Draws the rows of each step.

    Args:
        pictures: Where from.
        usable: Numbers of the pictures that may be shown.
        seed: Of all choices.
        shares: How rows are mixed.
        branches: Most branches of a row.
    """

    def __init__(
        self, pictures: PictureSet, usable: Sequence[int], seed: int, shares: Shares | None = None, branches: int = 24
    ):
        self._pictures, self._usable, self._seed = pictures, np.asarray(usable), seed
        self._shares, self._branches = shares or Shares(), branches
        shown = set(self._usable.tolist())
        self._pairs: dict[tuple[int, int], list[Mapping[str, Any]]] = defaultdict(list)
        for pair in pictures.pairs:
            if pair["first"] in shown and pair["second"] in shown:
                self._pairs[pair["first"], pair["second"]].append(pair)
        self._keys = list(self._pairs)

    def rows(self, step: int, count: int) -> list[Row]:
        """The rows of step `step`; 'count' of them, text rows included."""
        rng = np.random.default_rng([self._seed, 11, step])
        # The number of text rows is the share on average, spread evenly over the steps.
        text = int((step + 1) * count * self._shares.text) - int(step * count * self._shares.text)
        weights = self._shares.first if step < self._shares.first_steps else self._shares.then
        rows = [self._shown(rng, weights) for _ in range(count - text)] + [self._text(rng) for _ in range(text)]
        return [
            replace(row, system=SYSTEMS[int(rng.choice(len(SYSTEMS), p=(0.6, 0.2, 0.2)))])
            if rng.random() < self._shares.system
            else row
            for row in rows
        ]

    def _shown(self, rng: np.random.Generator, factors: Mapping[str, float]) -> Row:
        if self._keys and rng.random() < self._shares.pair:
            first, second = self._keys[int(rng.integers(len(self._keys)))]
            asked = self._pairs[first, second]
            order = rng.permutation(len(asked))[: self._branches // 2]
            return Row((first, second), tuple(_branch(asked[index]) for index in order))
        picture = int(rng.choice(self._usable))
        asked = self._pictures.questions[picture]
        weights = np.array([factors.get(question["skill"], 1.0) for question in asked])
        count = min(self._branches, int((weights > 0).sum()))
        order = rng.choice(len(asked), count, replace=False, p=weights / weights.sum())
        return Row((picture,), tuple(self._grouped(rng, [asked[index] for index in order])))

    def _text(self, rng: np.random.Generator) -> Row:
        branches = []
        for _ in range(self._branches):
            if rng.random() < self._shares.practice:
                done = exercise(rng)
                branches.append(Branch(((done.question, done.answer),), done.skill))
            else:
                branches.append(_branch(self._pictures.texts[int(rng.integers(len(self._pictures.texts)))]))
        return Row((), tuple(branches))

    def _grouped(self, rng: np.random.Generator, asked: Sequence[Mapping[str, Any]]) -> list[Branch]:
        """Each question alone, or some of them as the turns of one conversation."""
        branches: list[Branch] = []
        rest = list(asked)
        while rest:
            turns = int(rng.integers(2, 5)) if rng.random() < self._shares.longer else 1
            taken, rest = rest[:turns], rest[turns:]
            said = tuple((question["question"], question["answer"]) for question in taken)
            branches.append(Branch(said, taken[-1]["skill"]))
        return branches


def single(questions: Sequence[Mapping[str, Any]]) -> tuple[Branch, ...]:
    """Each question in a conversation of its own."""
    return tuple(_branch(question) for question in questions)


def _branch(question: Mapping[str, Any]) -> Branch:
    return Branch(((question["question"], question["answer"]),), question["skill"])
