"""Checks of the motion plan: its directions and gripper words against what was recorded.

Each axis is judged by its swings, not by its net motion: "up, then down" is true of a span that comes back to where
it began. Small axes may be left out; what is named must have happened, and in that order.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vlm2vla.annotation.checks.findings import Finding
from vlm2vla.annotation.checks.recording import Recording, Swing, swings
from vlm2vla.embodiment import AXES
from vlm2vla.language import Direction, find_directions, find_gripper_words, measure
from vlm2vla.types import AnnotatedSubtask

# Metres for x y z, radians for roll pitch yaw.
_NOTICEABLE = np.array([0.005] * 3 + [0.07] * 3)
_SIGNIFICANT = np.array([0.01] * 3 + [0.14] * 3)
_LARGE = np.array([0.02] * 3 + [0.26] * 3)
_OMITTED_M = 0.03
_NEAR_S = 0.6
_FAR_FROM_M, _SLIGHTLY_TO_M = 0.05, 0.10
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:\s*(?:cm|mm|m|centimet(?:er|re)s?|deg(?:ree)?s?)\b)?", re.IGNORECASE)
_THEN = re.compile(r"\bthen\b|\bbefore\b|\bafter that\b|;", re.IGNORECASE)


@dataclass(frozen=True)
class _Axis:
    """What one axis did in a span, and what the plan says of it."""

    index: int
    named: list[int]
    moves: list[Swing]
    net: float
    slight: frozenset[int] = frozenset()  # signs that are only ever said "slightly"

    def most(self, sign: int) -> float:
        """Largest swing towards `sign`, not negative."""
        return max((move.amount * sign for move in self.moves), default=0.0)


def check_plan(subtask: AnnotatedSubtask, recording: Recording) -> Iterator[Finding]:
    """All findings about the motion plan of one subtask."""
    if not subtask.plan.strip():
        return  # said by check_levels
    named = find_directions(subtask.plan)
    axes = _axes(subtask, recording, named)
    for axis in axes:
        if axis.named:
            yield from _check_axis(axis, subtask)
    yield from _check_sizes(axes, named, subtask)
    yield from _check_sequence(axes, subtask)
    yield from _check_omitted(axes, subtask)
    yield from _check_gripper(subtask, recording)
    if number := _NUMBER.search(subtask.plan):
        message = f'The plan says "{number.group()}"; plans are in words, numbers belong in the action text.'
        yield Finding("warning", "plan-number", message, subtask.uid, subtask.start_step, subtask.end_step)


def _axes(subtask: AnnotatedSubtask, recording: Recording, named: tuple[Direction, ...]) -> list[_Axis]:
    path = recording.path[subtask.start_step : subtask.end_step + 1]
    axes = []
    for index, name in enumerate(AXES):
        signs: list[int] = []
        for direction in named:
            if direction.axis == name and signs[-1:] != [direction.sign]:
                signs.append(direction.sign)
        if index < 3 or signs:
            values = path[:, index].tolist()
            sized = [way for way in named if way.axis == name]
            slight = frozenset(way.sign for way in sized if way.size == "slightly")
            slight -= {way.sign for way in sized if way.size != "slightly"}
            axes.append(_Axis(index, signs, swings(values, _NOTICEABLE[index]), values[-1] - values[0], slight))
    return axes


def _check_axis(axis: _Axis, subtask: AnnotatedSubtask) -> Iterator[Finding]:
    where = (subtask.uid, subtask.start_step, subtask.end_step)
    wrong = False
    for sign in sorted(set(axis.named), key=axis.named.index):
        towards, against = axis.most(sign), axis.most(-sign)
        word, other = _word(axis, sign), _word(axis, -sign)
        opposite = -sign not in axis.named and against >= _SIGNIFICANT[axis.index]
        if opposite and (towards < _NOTICEABLE[axis.index] or _outweighed(axis, sign, towards, against)):
            wrong = True
            yield Finding(
                "error", "plan-direction", f'The plan says "{word}", but the arm moved {_size(axis, -sign)}.', *where
            )
        elif towards < _NOTICEABLE[axis.index]:
            if -sign in axis.named and against >= _SIGNIFICANT[axis.index]:
                message = f'The plan says "{word}" and "{other}", but the arm only moved {_size(axis, -sign)}.'
            else:
                message = f'The plan says "{word}", but the arm hardly moved that way.'
            yield Finding("warning", "plan-still-axis", message, *where)
    if not wrong and len(axis.named) > 1 and not _in_order(axis):
        told = ", then ".join(_word(axis, sign) for sign in axis.named)
        done = ", then ".join(_size(axis, move.sign, abs(move.amount)) for move in axis.moves)
        sure = sum(abs(move.amount) >= _LARGE[axis.index] for move in axis.moves) > 1
        message = f'The plan says "{told}", but the arm moved {done or "hardly"}.'
        yield Finding("error" if sure else "warning", "plan-order", message, *where)


def _outweighed(axis: _Axis, sign: int, towards: float, against: float) -> bool:
    """The arm went the other way on the whole, and the named way hardly; "slightly" only claims a little of it."""
    if sign in axis.slight and towards >= _SIGNIFICANT[axis.index]:
        return False
    return -axis.net * sign >= _SIGNIFICANT[axis.index] and against >= max(3 * towards, _LARGE[axis.index])


def _in_order(axis: _Axis) -> bool:
    """Whether the named signs are found in this order among the swings; what is missing is said elsewhere."""
    done = [move.sign for move in axis.moves]
    if len(set(done)) < 2:
        return True
    remaining = iter(done)
    return all(sign in remaining for sign in axis.named)


def _check_sizes(axes: list[_Axis], named: tuple[Direction, ...], subtask: AnnotatedSubtask) -> Iterator[Finding]:
    """No short way is "far" and no long one "slightly"; ways that did not happen are said by `_check_axis`."""
    for axis in axes:
        for sign in sorted(set(axis.named), key=axis.named.index) if axis.index < 3 else ():
            sizes = [way.size for way in named if (way.axis, way.sign) == (AXES[axis.index], sign)]
            moved = axis.most(sign)
            if moved < _NOTICEABLE[axis.index]:
                continue
            wrong = "far" if "far" in sizes and moved < _FAR_FROM_M else ""
            # Said of several phrases, it is the way of each that is slight.
            if set(sizes) == {"slightly"} and moved > _SLIGHTLY_TO_M * len(sizes):
                wrong = "slightly"
            if wrong:
                message = f'The plan says "{wrong} {_word(axis, sign)}", but the arm moved {_size(axis, sign)}.'
                yield Finding("warning", "plan-size", message, subtask.uid, subtask.start_step, subtask.end_step)


def _check_sequence(axes: list[_Axis], subtask: AnnotatedSubtask) -> Iterator[Finding]:
    """What one phrase says was not done and over before what an earlier phrase says had begun."""
    phrases = [find_directions(part) for part in _THEN.split(subtask.plan)]
    count = Counter((direction.axis, direction.sign) for phrase in phrases for direction in phrase)
    timed: list[list[tuple[Direction, Swing]]] = []
    for phrase in phrases:
        moves = []
        for direction in phrase:
            same = [
                move for axis in axes if AXES[axis.index] == direction.axis for move in axis.moves
                if move.sign == direction.sign
            ]  # fmt: skip
            if len(same) == 1 == count[direction.axis, direction.sign]:
                moves.append((direction, same[0]))
        if moves:
            timed.append(moves)
    for earlier, later in pairwise(timed):
        swapped = [(a[0], b[0]) for a in earlier for b in later if b[1].end <= a[1].begin]
        if swapped:
            first, second = swapped[0]
            message = f'The plan says "{first.word}" before "{second.word}"; the arm did it the other way round.'
            where = (subtask.uid, subtask.start_step, subtask.end_step)
            yield Finding("warning", "plan-sequence", message, *where)
            return


def _check_omitted(axes: list[_Axis], subtask: AnnotatedSubtask) -> Iterator[Finding]:
    """The leading motion of the span is named, and on an axis that is named both of its ways."""
    moved = [(abs(move.amount), axis, move.sign) for axis in axes if axis.index < 3 for move in axis.moves]
    if not moved:
        return
    leading = max(moved, key=lambda entry: entry[0])
    missing = [
        (size, axis, sign)
        for size, axis, sign in moved
        if size >= _OMITTED_M and sign not in axis.named and (axis.named or (size, axis, sign) == leading)
    ]
    if not missing:
        return
    size, axis, sign = max(missing, key=lambda entry: entry[0])
    still = not any(entry.named for entry in axes) and "still" in subtask.plan.lower()
    message = f"The plan does not say that the arm moved {_size(axis, sign)}."
    where = (subtask.uid, subtask.start_step, subtask.end_step)
    yield Finding("error" if still else "warning", "plan-omits", message, *where)


def _check_gripper(subtask: AnnotatedSubtask, recording: Recording) -> Iterator[Finding]:
    start, end = subtask.start_step, subtask.end_step
    said = _without_repeats(list(find_gripper_words(subtask.plan)))
    done = [event for _, event in recording.events(start, end)]
    if said == done:
        return
    near = max(1, round(_NEAR_S * recording.rate_hz))
    around = {event for _, event in recording.events(start - near, end + near)}
    for word in dict.fromkeys(said):
        verb = f"{word}s"
        if word in done:
            continue
        if word in around:
            message = f"The plan says that the gripper {verb}; it does so just outside this span."
            yield Finding("warning", "plan-gripper", message, subtask.uid, start, end)
        else:
            message = f"The plan says that the gripper {verb}, but it does not in this span."
            yield Finding("error", "plan-gripper", message, subtask.uid, start, end)
    for event in dict.fromkeys(done):
        if event not in said:
            message = f"The gripper {event}s in this span; the plan does not say so."
            yield Finding("warning", "plan-gripper-omitted", message, subtask.uid, start, end)
    if set(said) == set(done) and len(said) >= len(done) > 1:
        message = f"The plan says that the gripper {_told(said)}, but it {_told(done)}."
        yield Finding("error", "plan-gripper", message, subtask.uid, start, end)


def _without_repeats(words: list[str]) -> list[str]:
    return [word for index, word in enumerate(words) if not index or words[index - 1] != word]


def _told(events: list[str]) -> str:
    return ", then ".join(f"{event}s" for event in events)


def _word(axis: _Axis, sign: int) -> str:
    direction = Direction(AXES[axis.index], sign)
    return direction.word if axis.index < 3 else f"{direction.verb} {direction.word}"


def _size(axis: _Axis, sign: int, size: float | None = None) -> str:
    delta = np.zeros(6)
    delta[axis.index] = sign * (axis.most(sign) if size is None else size)
    return measure(delta)
