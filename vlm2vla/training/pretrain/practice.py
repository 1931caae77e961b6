"""Text-only exercises with the vocabulary of motion: copying, translating and adding up lists, without any picture.

A large VLM has met rows of numbers, numbered lists and direction words in ordinary text. Here that is made: each
exercise can be answered from its question alone, so nothing of it tells where to move in a picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vlm2vla.language import form, plan_of, verbalize_plan, verbalize_subtasks
from vlm2vla.types import ActionChunk

_ROWS, _SENTENCE = form("rows:0.5cm"), form("sentence:0.5cm")
_OPPOSITE = {"forward": "back", "left": "right", "up": "down", "open": "close", "raise": "lower", "far": "near"}
_OPPOSITE |= {value: key for key, value in _OPPOSITE.items()}
_SIGNS = {"forward": "x +", "back": "x -", "left": "y +", "right": "y -", "up": "z +", "down": "z -"}
_VERBS = (
    "Move to",
    "Grasp",
    "Lift",
    "Release",
    "Open",
    "Wash",
    "Paint",
    "Carry",
    "Push",
    "Find",
    "Read",
    "Draw",
    "Clean",
)
_NOUNS = ("cup", "lamp", "door", "chair", "book", "apple", "box", "bag", "key", "towel", "spoon", "window", "letter")


@dataclass(frozen=True)
class Exchange:
    """A question and its answer.

    Attributes:
        skill: Name of the skill, as in questions.jsonl.
        question, answer: The two texts.
    """

    skill: str
    question: str
    answer: str


def exercise(rng: np.random.Generator) -> Exchange:
    """One exercise by chance."""
    make = _MAKERS[int(rng.choice(len(_MAKERS), p=_WEIGHTS))]
    question, answer = make(rng)
    return Exchange("format", question, answer)


def walk(rng: np.random.Generator, rows: int = 0) -> ActionChunk:
    """A way through the air: towards a point in even rows, at times with the gripper closing or opening at the end."""
    total = rng.uniform(-16, 16, 3) * (rng.random(3) < 0.75)
    count = rows or int(np.clip(np.ceil(np.abs(total).max() / 2.5), 1, 7))
    path = np.linspace(0, 1, count + 1)[1:, None] * total + rng.normal(0, 0.2, (count, 3)) * (total != 0)
    moves = np.diff(np.vstack([np.zeros(3), path]), axis=0)
    gripper = np.full(count, float(rng.random() < 0.5))
    if rng.random() < 0.35:
        moves, gripper = np.vstack([moves, np.zeros(3)]), np.append(gripper, 1 - gripper[-1])
        if rng.random() < 0.5:
            up = np.array([[0.0, 0.0, float(rng.uniform(1, 4))]])
            moves, gripper = np.vstack([moves, up]), np.append(gripper, gripper[-1])
    values = np.hstack([np.round(moves * 2) / 200, gripper[:, None]])
    return _ROWS.quantize(ActionChunk(values))


def _numbers(values: np.ndarray) -> str:
    return f"[{', '.join(f'{value + 0.0:.1f}' for value in np.round(np.asarray(values) * 2) / 2 + 0.0)}]"


def _pick(rng: np.random.Generator, *options: str) -> str:
    return options[int(rng.integers(len(options)))]


def _plan(rng: np.random.Generator) -> str:
    chunk = walk(rng)
    actions = np.zeros((len(chunk.rows), 7))
    actions[:, :3], actions[:, 6] = chunk.rows[:, :3], chunk.rows[:, -1]
    return verbalize_plan(plan_of(actions, gripper_before=float(actions[0, 6]), settle_s=0.0))


def _echo(rng: np.random.Generator) -> tuple[str, str]:
    """A few words and numbers in any order, said again: the shortest kind of copying."""
    words = [*_NOUNS, *_SIGNS, *_OPPOSITE, "move", "slightly", "then", "gripper", "cm"]
    items = []
    for _ in range(int(rng.integers(1, 7))):
        number = f"{rng.integers(-60, 61) / 2:.1f}" if rng.random() < 0.5 else str(rng.integers(0, 100))
        items.append(_pick(rng, *words) if rng.random() < 0.5 else number)
    text = _pick(rng, " ", ", ").join(items)
    return f"{_pick(rng, 'Repeat', 'Copy', 'Write again', 'Say this once more')}: {text}", text


def _copy(rng: np.random.Generator) -> tuple[str, str]:
    chunk = walk(rng)
    text = (_ROWS.verbalize, _SENTENCE.verbalize, lambda _: _plan(rng))[int(rng.choice(3, p=[0.5, 0.25, 0.25]))](chunk)
    return f"{_pick(rng, 'Repeat', 'Copy', 'Write again', 'Say this once more')}: {text}", text


def _rows_of_sentence(rng: np.random.Generator) -> tuple[str, str]:
    chunk = walk(rng, rows=int(rng.integers(1, 4)))
    sentence, rows = _SENTENCE.verbalize(chunk), _ROWS.verbalize(chunk)
    if rng.random() < 0.65:
        return f"{_pick(rng, 'Write as rows', 'As a list of rows', 'In numbers')}: {sentence}", rows
    return f"{_pick(rng, 'Write as a sentence', 'In words')}: {rows}", sentence


def _words_of_numbers(rng: np.random.Generator) -> tuple[str, str]:
    """Such as "[12.0, -3.5, 0.0]" and "forward 12 cm, right 3.5 cm"."""
    values = (np.round(rng.uniform(-25, 25, 3) * (rng.random(3) < 0.8) * 2) / 2).tolist()
    pairs = (("forward", "back"), ("left", "right"), ("up", "down"))
    words = [f"{names[value < 0]} {abs(value):g} cm" for names, value in zip(pairs, values, strict=True) if value]
    text = ", ".join(words) or "no motion"
    if rng.random() < 0.5:
        return f"In words: {_numbers(values)}", text
    return f"{_pick(rng, 'In numbers', 'As numbers')}: {text}", _numbers(values)


def _steps(rng: np.random.Generator) -> tuple[str, str]:
    """A long way as equal short rows."""
    total = np.round(rng.uniform(-15, 15, 3) * (rng.random(3) < 0.7) * 2) / 2
    if not total.any():
        total[0] = 5.0
    count = int(np.ceil(np.abs(total).max() / 2.5))
    bit = int(rng.random() < 0.5)
    chunk = _ROWS.quantize(ActionChunk(np.hstack([np.tile(total / count / 100, (count, 1)), np.full((count, 1), bit)])))
    state = _pick(rng, f"gripper {bit}", ("closed", "open")[bit])
    return f"{_pick(rng, 'Divide', 'Split')} {_numbers(total)} into {count} rows, {state}.", _ROWS.verbalize(chunk)


def _count_rows(rng: np.random.Generator) -> tuple[str, str]:
    """How many steps of 2.5 a way takes, and how many are left."""
    far = round(float(rng.uniform(0.5, 25)) * 2) / 2
    if rng.random() < 0.6:
        return f"How many steps of at most 2.5 cm make {far:g} cm?", str(int(np.ceil(far / 2.5)))
    return f"Go {far:g} cm in steps of at most 2.5 cm.", ", ".join(
        [*["2.5"] * int(far // 2.5), *([f"{far % 2.5:.1f}"] if far % 2.5 else [])]
    )


def _sum(rng: np.random.Generator) -> tuple[str, str]:
    chunk = walk(rng, rows=int(rng.integers(2, 4)))
    return f"{_pick(rng, 'Add the rows', 'Sum of the rows')}: {_ROWS.verbalize(chunk)}", _numbers(
        chunk.rows[:, :3].sum(axis=0) * 100
    )


def _row_of(rng: np.random.Generator) -> tuple[str, str]:
    chunk = walk(rng)
    number = int(rng.integers(1, len(chunk.rows) + 1))
    text = _ROWS.verbalize(chunk)
    if rng.random() < 0.3:
        return f"How many rows: {text}", str(len(chunk.rows))
    row = _ROWS.verbalize(ActionChunk(chunk.rows[number - 1 : number]))
    return f"Row {number} of {text}", row[1:-1]


def _signs(rng: np.random.Generator) -> tuple[str, str]:
    words = [str(word) for word in rng.choice(list(_SIGNS), int(rng.integers(1, 4)), replace=False)]
    sizes = [_pick(rng, "", "slightly ", "far ") for _ in words]
    text = " and ".join(size + word for size, word in zip(sizes, words, strict=True))
    return f"Signs: move {text}", ", ".join(_SIGNS[word] for word in words)


def _opposite(rng: np.random.Generator) -> tuple[str, str]:
    word = str(rng.choice(list(_OPPOSITE)))
    before, after = ("move slightly ", "move slightly ") if word in _SIGNS and rng.random() < 0.4 else ("", "")
    return f"Opposite: {before}{word}", after + _OPPOSITE[word]


def _list(rng: np.random.Generator) -> tuple[str, str]:
    count = int(rng.integers(2, 5))
    items = [f"{_pick(rng, *_VERBS)} the {_pick(rng, *_NOUNS)}" for _ in range(count)]
    kind = rng.random()
    if kind < 0.5:
        return (
            f"{_pick(rng, 'Write as a numbered list', 'As a numbered list')}: {'; '.join(items)}",
            verbalize_subtasks(items),
        )
    if kind < 0.8:
        number = int(rng.integers(1, count + 1))
        return f"Item {number} of this list:\n{verbalize_subtasks(items)}", items[number - 1]
    return f"Remove the first item:\n{verbalize_subtasks(items)}", verbalize_subtasks(items[1:])


_TABLE: tuple[tuple[Callable[[np.random.Generator], tuple[str, str]], float], ...] = (
    (_echo, 6.0),
    (_copy, 4.0),
    (_rows_of_sentence, 3.0),
    (_words_of_numbers, 3.0),
    (_steps, 4.0),
    (_count_rows, 1.5),
    (_sum, 0.7),
    (_row_of, 1.0),
    (_signs, 1.0),
    (_opposite, 0.7),
    (_list, 2.5),
)
_MAKERS = [make for make, _ in _TABLE]
_WEIGHTS = np.array([weight for _, weight in _TABLE]) / sum(weight for _, weight in _TABLE)
