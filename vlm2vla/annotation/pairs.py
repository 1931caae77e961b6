"""The paper's extra samples: "is this subtask done?" and "did the gripper move left or right?", over two frames.

Typed values with step numbers; how they are asked is the dialogue's business, which frames they show the data set's.
The sampling is ours (the paper gives none) and follows from the seed and the episode's id alone.
"""

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlm2vla import motion
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Episode

Side = Literal["left", "right", "none"]
SIDES: tuple[Side, ...] = ("left", "right", "none")

# A negative shows at most this share of the subtask's way.
BARELY_BEGUN = 0.4
MOVED_M = 0.02
STILL_M = 0.005
SHORTEST_S, LONGEST_S = 0.6, 2.0


@dataclass(frozen=True)
class CompletedPair:
    """Two frames and a subtask: was it completed between them?

    Attributes:
        uid: The subtask.
        text: Its text.
        before_step: The first frame, at the subtask's beginning.
        after_step: The second frame.
        completed: The answer.
    """

    uid: str
    text: str
    before_step: int
    after_step: int
    completed: bool


@dataclass(frozen=True)
class MovementPair:
    """Two frames: did the gripper move left or right (the robot's own left and right)?

    Attributes:
        uid: The subtask that both frames belong to.
        before_step: The first frame.
        after_step: The second frame.
        direction: The answer.
    """

    uid: str
    before_step: int
    after_step: int
    direction: Side


def completed_pairs(annotated: AnnotatedEpisode, episode: Episode, seed: int = 0) -> tuple[CompletedPair, ...]:
    """One positive and one negative per subtask, as far as the recording proves them.

    Positive: from the first frame of the subtask to the first one after it. The last subtask of the recording has
    none unless the gripper acts in it, since recordings may stop before the deed is done. Negative: a second frame
    before the first gripper event of the subtask and within the first 40 % of its way; subtasks that hardly move
    have none.
    """
    rng = _generator(seed, episode.id)
    rows = motion.actions(episode)
    pairs: list[CompletedPair] = []
    last = len(episode) - 1
    for subtask in annotated.subtasks:
        start, end = subtask.start_step, min(subtask.end_step, last)
        if not 0 <= start < end:
            continue
        acts = _first_event(rows, subtask)
        if subtask.end_step <= last or acts is not None:
            pairs.append(CompletedPair(subtask.uid, subtask.text, start, end, True))
        early = _barely_begun(rows, start, end if acts is None else min(acts, end))
        if early:
            pairs.append(CompletedPair(subtask.uid, subtask.text, start, int(rng.choice(early)), False))
    return tuple(pairs)


def movement_pairs(
    annotated: AnnotatedEpisode, episode: Episode, seed: int = 0, *, per_side: int = 1
) -> tuple[MovementPair, ...]:
    """Up to `per_side` pairs for each of left, right and none, each within one subtask, in order of time.

    "left" and "right" moved at least 2 cm along y, "none" stayed within 5 mm; what lies in between is not asked.
    """
    rng = _generator(seed, episode.id)
    y = episode.states[:, 1]
    shortest = max(1, round(SHORTEST_S * episode.rate_hz))
    longest = max(shortest, round(LONGEST_S * episode.rate_hz))
    found: dict[Side, list[MovementPair]] = {side: [] for side in SIDES}
    for subtask in annotated.subtasks:
        last = min(subtask.end_step, len(y) - 1)
        for first in range(max(subtask.start_step, 0), last):
            for second in range(first + shortest, min(first + longest, last) + 1):
                if side := _side(y[first : second + 1]):
                    found[side].append(MovementPair(subtask.uid, first, second, side))
    chosen = [found[side][index] for side in SIDES for index in rng.permutation(len(found[side]))[:per_side].tolist()]
    return tuple(sorted(chosen, key=lambda pair: (pair.before_step, pair.after_step)))


def _side(y: np.ndarray) -> Side | None:
    moved = float(y[-1] - y[0])
    if moved >= MOVED_M:
        return "left"
    if moved <= -MOVED_M:
        return "right"
    return "none" if float(np.ptp(y)) < STILL_M else None


def _first_event(rows: np.ndarray, subtask: AnnotatedSubtask) -> int | None:
    """Step of the first gripper change in the subtask."""
    low, high = max(subtask.start_step, 1), min(subtask.end_step, len(rows))
    changed = np.flatnonzero(rows[low:high, 6] != rows[low - 1 : high - 1, 6])
    return int(changed[0]) + low if len(changed) else None


def _barely_begun(rows: np.ndarray, start: int, stop: int) -> list[int]:
    """Steps after `start`, at most `stop`, at which less than `BARELY_BEGUN` of the way is done."""
    way = np.cumsum(np.abs(rows[start:stop, :3]).sum(axis=1))
    if not len(way) or way[-1] < MOVED_M:
        return []
    return [start + 1 + index for index in range(len(way) - 1) if way[index] <= BARELY_BEGUN * way[-1]]


def _generator(seed: int, episode_id: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(episode_id.encode())])
