"""Cuts a recording into phases by what the gripper and the arm do. Pure numpy; knows no words and no instruction.

Gripper events cut first: closing starts a grasp, opening a release. Between them the recording is cut where the
leading axis of motion changes. An axis leads while it moves more than `ENTER_M` in `WINDOW_S`, and gives way when it
falls under `LEAVE_M` or another one is much stronger, so that tremor and short turns do not cut.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Event = Literal["", "close", "open"]
Heading = Literal["still", "level", "up", "down"]

WINDOW_S = 0.8
ENTER_M = 0.008
LEAVE_M = 0.004
TAKE_OVER = 1.6
MIN_PHASE_S = 0.6
MIN_CUT_S = 0.6
SETTLE_S = 1.2
SETTLED_PER_S = 0.15
LEAVING_M_S = 0.06
REST_M = 0.02
TURN_COSINE = 0.5


@dataclass(frozen=True)
class Phase:
    """A stretch of steps [start, end) with one character.

    Attributes:
        start, end: Half-open steps.
        event: Gripper event in it, if that is what it is about.
        holding: Whether something was between the fingers when it began.
        heading: Leading direction of its motion.
        soft: The cut at its start was made by a change of direction and may be given up.
    """

    start: int
    end: int
    event: Event = ""
    holding: bool = False
    heading: Heading = "still"
    soft: bool = False

    def __len__(self) -> int:
        return self.end - self.start


def gripper_events(bits: np.ndarray, first: int = 0) -> list[tuple[int, Event]]:
    """Steps t >= first at which the command ([T] bits, as of `motion.gripper_bits`) differs from step t - 1."""
    steps = (np.flatnonzero(np.diff(bits)) + 1).tolist()
    return [(step, "open" if bits[step] > 0.5 else "close") for step in steps if step >= first]


def headings(rows: np.ndarray, rate_hz: float) -> np.ndarray:
    """[T, >=3] motion -> [T] leading direction of every step: 0 still, +-1 x, +-2 y, +-3 z, with hysteresis."""
    count = len(rows)
    half = max(1, round(WINDOW_S * rate_hz / 2))
    path = np.vstack([np.zeros(3), np.cumsum(rows[:, :3], axis=0)])
    middle = np.arange(count)
    low, high = np.maximum(middle - half, 0), np.minimum(middle + half, count)
    # Windows are cut off at the ends of the recording: scale to the full length.
    moved = (path[high] - path[low]) * (2 * half / np.maximum(high - low, 1))[:, None]
    sizes = np.abs(moved)
    found = np.zeros(count, dtype=int)
    current = 0
    for step in range(count):
        best = int(np.argmax(sizes[step]))
        strongest = sizes[step, best]
        candidate = (best + 1) * (1 if moved[step, best] > 0 else -1)
        own = moved[step, abs(current) - 1] * np.sign(current) if current else 0.0
        if current and own < LEAVE_M:
            current = 0
        if strongest >= ENTER_M and (not current or (candidate != current and strongest > TAKE_OVER * own)):
            current = candidate
        found[step] = current
    return found


def heading_of(rows: np.ndarray) -> Heading:
    """Leading direction of a whole stretch of motion [N, >=3]."""
    net = rows[:, :3].sum(axis=0)
    level = float(np.hypot(net[0], net[1]))
    if max(level, abs(net[2])) < ENTER_M:
        return "still"
    if abs(net[2]) >= level:
        return "up" if net[2] > 0 else "down"
    return "level"


def phases(
    rows: np.ndarray, measured: np.ndarray, rate_hz: float, *, start: int = 0, end: int | None = None
) -> list[Phase]:
    """Cut the steps [start, end) of a recording into phases that cover them.

    Args:
        rows: [T, 7] motion of the whole recording, as `motion.actions` gives it.
        measured: [T] measured gripper opening, which says when the fingers have settled.
        rate_hz: Steps per second.
        start: First step to cut.
        end: Step behind the last one; the recording's length when None.
    """
    stop = len(rows) if end is None else end
    shortest = max(2, round(MIN_PHASE_S * rate_hz))
    found: list[Phase] = []
    holding = _holding_at(rows[:, 6], start)
    at = start
    events = [entry for entry in gripper_events(rows[:, 6], first=start) if entry[0] < stop]
    for (step, event), following in zip(events, [*(step for step, _ in events[1:]), stop], strict=False):
        if event == "open" and not holding:
            continue  # the fingers open on the way to the object: part of the approach
        found += _free(rows, at, step, rate_hz, holding)
        settled = _settled(measured, rows, step, following, rate_hz)
        found.append(Phase(step, settled, event, holding))
        holding = event == "close"
        at = settled
    found += _free(rows, at, stop, rate_hz, holding)
    found = _absorb(found, rows, shortest)
    found = _lead_in(found, rows)
    found = _absorb(_lengthen(found, shortest), rows, shortest)
    found = _limit(found, 2 + round((stop - start) / rate_hz / 2.5))
    return [replace(phase, heading=heading_of(rows[phase.start : phase.end])) for phase in found]


def turning_point(rows: np.ndarray, phase_list: list[Phase]) -> int | None:
    """Index of the first phase that heads elsewhere than the ones before it (by more than 60 degrees), if any."""
    for index in range(1, len(phase_list)):
        before = rows[phase_list[0].start : phase_list[index].start, :3].sum(axis=0)
        after = rows[phase_list[index].start : phase_list[-1].end, :3].sum(axis=0)
        size = float(np.linalg.norm(before) * np.linalg.norm(after))
        if size > ENTER_M**2 and float(before @ after) < TURN_COSINE * size:
            return index
    return None


def _holding_at(bits: np.ndarray, start: int) -> bool:
    """Whether the fingers hold something at `start`: closed by an event, or closed at first and only opened later."""
    events = gripper_events(bits)
    before = [event for step, event in events if step < start]
    if before:
        return before[-1] == "close"
    return bool(len(bits) and bits[0] < 0.5 and events and all(event == "open" for _, event in events))


def _settled(measured: np.ndarray, rows: np.ndarray, step: int, stop: int, rate_hz: float) -> int:
    """Where a command at `step` is done: the fingers have come to rest, or the arm sets off other than downwards."""
    earliest = step + max(2, round(0.4 * rate_hz))
    latest = min(stop, step + max(2, round(SETTLE_S * rate_hz)))
    for index in range(earliest, latest):
        change = abs(measured[min(index + 1, len(measured) - 1)] - measured[index])
        resting = change <= SETTLED_PER_S / rate_hz
        speed = rows[index, :3] * rate_hz
        leaving = float(np.hypot(np.hypot(speed[0], speed[1]), max(speed[2], 0.0))) > LEAVING_M_S
        if resting or leaving:
            return index
    return latest


def _free(rows: np.ndarray, start: int, stop: int, rate_hz: float, holding: bool) -> list[Phase]:
    """Phases between gripper events: cut where the leading direction changes."""
    if start >= stop:
        return []
    shortest = max(2, round(MIN_CUT_S * rate_hz))
    runs = _runs(headings(rows[start:stop], rate_hz), shortest)
    return [Phase(start + low, start + high, holding=holding, soft=index > 0) for index, (low, high) in enumerate(runs)]


def _runs(labels: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """Runs of equal labels; still and short ones are joined to the neighbour, the shortest first."""
    edges = [0, *(int(edge) for edge in np.flatnonzero(np.diff(labels)) + 1), len(labels)]
    runs = [[low, high, int(labels[low])] for low, high in zip(edges, edges[1:], strict=False)]
    while len(runs) > 1:
        weak = [index for index, run in enumerate(runs) if run[2] == 0 or run[1] - run[0] < shortest]
        twin = next((index for index in range(len(runs) - 1) if runs[index][2] == runs[index + 1][2]), None)
        if twin is not None:
            runs[twin : twin + 2] = [[runs[twin][0], runs[twin + 1][1], runs[twin][2]]]
        elif weak:
            index = min(weak, key=lambda at: (runs[at][2] != 0, runs[at][1] - runs[at][0]))
            other = index - 1 if index and (index == len(runs) - 1 or _longer(runs, index)) else index + 1
            low, high = sorted((index, other))
            label = runs[other][2] or runs[index][2]
            runs[low : high + 1] = [[runs[low][0], runs[high][1], label]]
        else:
            break
    return [(low, high) for low, high, _ in runs]


def _longer(runs: list[list[int]], index: int) -> bool:
    """Whether the run before `index` is at least as long as the one after it."""
    before, after = runs[index - 1], runs[index + 1]
    return before[1] - before[0] >= after[1] - after[0]


def _absorb(found: list[Phase], rows: np.ndarray, shortest: int) -> list[Phase]:
    """Phases without event that are too short, or at rest, join the event they touch, or else a neighbour."""
    kept = list(found)
    index = 0
    while index < len(kept):
        phase = kept[index]
        weak = len(phase) < shortest or _at_rest(rows[phase.start : phase.end])
        if phase.event or not weak or len(kept) == 1:
            index += 1
        elif index and (index == len(kept) - 1 or kept[index - 1].event != "" or kept[index + 1].event == ""):
            kept[index - 1] = replace(kept[index - 1], end=phase.end)
            del kept[index]
        else:
            kept[index + 1] = replace(kept[index + 1], start=phase.start, soft=phase.soft)
            del kept[index]
    return kept


def _at_rest(rows: np.ndarray) -> bool:
    return heading_of(rows) == "still" and float(np.abs(rows[:, :3]).sum()) < REST_M


def _lead_in(found: list[Phase], rows: np.ndarray) -> list[Phase]:
    """The descent just before a gripper event belongs to it, when another phase of the way is left."""
    kept = list(found)
    index = 2
    while index < len(kept):
        phase, descent = kept[index], kept[index - 1]
        if (
            phase.event
            and descent.soft
            and not descent.event
            and heading_of(rows[descent.start : descent.end]) == "down"
        ):
            kept[index - 1 : index + 1] = [replace(phase, start=descent.start, soft=False)]
        else:
            index += 1
    return kept


def _lengthen(found: list[Phase], shortest: int) -> list[Phase]:
    """An event too close to the end of the recording takes its first steps from the phase before it."""
    kept = list(found)
    for index in range(len(kept) - 1, 0, -1):
        phase, before = kept[index], kept[index - 1]
        missing = shortest - len(phase)
        if missing <= 0:
            continue
        if len(before) - missing >= shortest:
            kept[index - 1] = replace(before, end=before.end - missing)
            kept[index] = replace(phase, start=phase.start - missing)
        elif not before.event:
            kept[index - 1 : index + 1] = [replace(phase, start=before.start, soft=before.soft)]
    return kept


def _limit(found: list[Phase], most: int) -> list[Phase]:
    """At most `most` phases: cuts by direction are given up first, those of the shortest phases."""
    kept = list(found)
    while len(kept) > most:
        soft = [index for index in range(1, len(kept)) if kept[index].soft and not kept[index - 1].event]
        if not soft:
            break
        index = min(soft, key=lambda at: min(len(kept[at]), len(kept[at - 1])))
        kept[index - 1 : index + 1] = [replace(kept[index - 1], end=kept[index].end)]
    return kept
