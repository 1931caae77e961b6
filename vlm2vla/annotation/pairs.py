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
# Most recordings have a stretch without sideways motion; about this share of them keeps its "none".
NONE_SHARE = 1 / 3
# The measured opening proves a gripper event when it moved this far, and then rested for `RESTED_S`.
OPENING_CHANGED = 0.2
# At rest it changes less than this per fifth of a second (one step at 5 Hz).
OPENING_RESTS, OPENING_PER_S = 0.05, 0.2
RESTED_S = 0.4
# Opening before the event: the fingers lag, and without recorded commands the event is found half way.
OPENING_BEFORE_S = 0.6
# A subtask's fingers may come to rest this long after its last step.
LATER_S = 1.0


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
    """One positive and up to two negatives per subtask, as far as the recording proves them.

    Positive: from the first frame of the subtask to the first one after it. Where the gripper acts in the subtask,
    the measured fingers must have followed and rest at the second frame; if they do not yet, the first frame of the
    next second at which they do is taken, as long as the next subtask lasts and the gripper does not act again; else
    there is none. The last subtask of the recording has none unless the gripper acts in it, since recordings may
    stop before the deed is done. Negatives: a second frame before the first gripper event of the subtask and within
    the first 40 % of its way (none for subtasks that hardly move); and, the harder one, the last frame before the
    first gripper event.
    """
    rng = _generator(seed, episode.id)
    rows = motion.actions(episode)
    pairs: list[CompletedPair] = []
    last = len(episode) - 1
    for index, subtask in enumerate(annotated.subtasks):
        start, end = subtask.start_step, min(subtask.end_step, last)
        if not 0 <= start < end:
            continue
        events = _events(rows, subtask.start_step, subtask.end_step)
        done: int | None = end if subtask.end_step <= last else None
        if events:
            done = _fingers_done(episode, rows, events[-1], end, _latest(annotated.subtasks, index, episode))
        if done is not None:
            pairs.append(CompletedPair(subtask.uid, subtask.text, start, done, True))
        early = _barely_begun(rows, start, min(events[0], end) if events else end)
        chosen = {int(rng.choice(early))} if early else set()
        # An event on the very last step may belong to the next subtask: boundaries are a step off at times.
        certain = subtask.end_step - 1 if subtask.end_step <= last else last + 1
        if events and start + 1 < events[0] < certain:
            chosen.add(events[0] - 1)
        pairs += [CompletedPair(subtask.uid, subtask.text, start, step, False) for step in sorted(chosen)]
    return tuple(pairs)


def movement_pairs(
    annotated: AnnotatedEpisode, episode: Episode, seed: int = 0, *, per_side: int = 1
) -> tuple[MovementPair, ...]:
    """Up to `per_side` pairs for each of left, right and none, each within one subtask, in order of time.

    "left" and "right" moved at least 2 cm along y, "none" stayed within 5 mm; what lies in between is not asked. As
    nearly every recording has a "none", only about one recording in three keeps it.
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
    if rng.random() >= NONE_SHARE:
        found["none"].clear()
    chosen = [found[side][index] for side in SIDES for index in rng.permutation(len(found[side]))[:per_side].tolist()]
    return tuple(sorted(chosen, key=lambda pair: (pair.before_step, pair.after_step)))


def _side(y: np.ndarray) -> Side | None:
    moved = float(y[-1] - y[0])
    if moved >= MOVED_M:
        return "left"
    if moved <= -MOVED_M:
        return "right"
    return "none" if float(np.ptp(y)) < STILL_M else None


def _events(rows: np.ndarray, start: int, end: int) -> list[int]:
    """Steps of [start, end) at which the gripper command changes."""
    low, high = max(start, 1), min(end, len(rows))
    return (np.flatnonzero(rows[low:high, 6] != rows[low - 1 : high - 1, 6]) + low).tolist()


def _latest(subtasks: tuple[AnnotatedSubtask, ...], index: int, episode: Episode) -> int:
    """Last step that may still show the end of a subtask: within `LATER_S`, and in the one that follows it."""
    end = subtasks[index].end_step
    following = [entry.end_step for entry in subtasks[index + 1 : index + 2] if entry.start_step == end]
    return min(end + round(LATER_S * episode.rate_hz), len(episode) - 1, *following)


def _fingers_done(episode: Episode, rows: np.ndarray, event: int, first: int, latest: int) -> int | None:
    """First step from `first` on at which the measured fingers followed the command of step `event` and rest.

    None when they do not do so until `latest`, or the gripper acts again before.
    """
    opening = episode.states[:, 6]
    way = 1.0 if rows[event, 6] > 0.5 else -1.0
    before = opening[max(event - round(OPENING_BEFORE_S * episode.rate_hz), 0) : event + 1]
    held = float((before * way).min())
    lag = max(1, round(OPENING_PER_S * episode.rate_hz))
    rested = max(lag, round(RESTED_S * episode.rate_hz))
    again = _events(rows, event + 1, latest + 1)
    for step in range(first, min([latest + 1, *again])):
        lately = opening[max(step - rested, 0) : step + 1]
        rests = len(lately) > rested and float(np.abs(lately[lag:] - lately[:-lag]).max()) < OPENING_RESTS
        if rests and opening[step] * way - held >= OPENING_CHANGED:
            return step
    return None


def _barely_begun(rows: np.ndarray, start: int, stop: int) -> list[int]:
    """Steps after `start`, at most `stop`, at which less than `BARELY_BEGUN` of the way is done."""
    way = np.cumsum(np.abs(rows[start:stop, :3]).sum(axis=1))
    if not len(way) or way[-1] < MOVED_M:
        return []
    return [start + 1 + index for index in range(len(way) - 1) if way[index] <= BARELY_BEGUN * way[-1]]


def _generator(seed: int, episode_id: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(episode_id.encode())])
