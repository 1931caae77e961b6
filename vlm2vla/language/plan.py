"""From numbers to a motion plan: few straight phrases, cut where the gripper or the dominant direction changes."""

from itertools import pairwise

import numpy as np

from vlm2vla.language.merge import checked_actions, gripper_spans
from vlm2vla.language.words import MotionPhrase, directions_of

MAX_PHRASES = 4
"""Phrases of one plan; more only where the gripper changes more often."""
WINDOW_S = 0.8
"""Direction is judged over this long."""
ENTER_CM, LEAVE_CM = 0.8, 0.4
"""A direction begins when the window moves this far along it, and ends when it moves less than the second."""
_TAKES_OVER = 1.5
"""Another direction takes over when it is this many times stronger."""
SETTLE_S = 0.6
"""Fingers need this long after a command; what the arm does meanwhile happens while they close or open."""
_TINY_CM = 1.5
_TINY_SHARE = 0.06
"""Phrases shorter than this, or than this share of the path, join a neighbour."""
_CM_PER_DEG = 1.0 / 6.0
"""Rotation counts like translation: 15 degrees like 2.5 cm."""


def plan_of(
    actions: np.ndarray,
    *,
    rotation: bool = False,
    gripper_before: float | None = None,
    rate_hz: float = 5.0,
    settle_s: float = SETTLE_S,
) -> tuple[MotionPhrase, ...]:
    """Motion plan of recorded steps.

    Args:
        actions: [T, 7] as of `vlm2vla.motion.actions`: motion of each step (metres, radians), gripper command.
        rotation: Also say rotations.
        gripper_before: Command before the first step; None where there was none, or it does not matter.
        rate_hz: Steps per second.
        settle_s: How long the fingers move after a change of the command; motion within it is said as "while
            closing the gripper". 0 where the gripper is done before the step moves.

    Returns:
        At least one phrase; "hold still" where nothing worth a word happens.

    Raises:
        AnnotationError: `actions` is not [T, 7], or not finite.
    """
    steps = checked_actions(actions)
    width = 6 if rotation else 3
    scale = np.array([100.0] * 3 + [np.degrees(1.0) * _CM_PER_DEG] * 3)[:width]
    measured = steps[:, :width] * scale
    window = max(1, round(WINDOW_S * rate_hz))
    settling = round(settle_s * rate_hz)
    acts: list[MotionPhrase | None] = []
    spans = []
    for start, end, changed in gripper_spans(steps[:, 6], gripper_before):
        settled = min(start + settling, end) if changed else start
        meanwhile = directions_of(measured[start:settled].sum(axis=0) / scale)
        acts.append(MotionPhrase(meanwhile, "open" if steps[start, 6] else "close") if changed else None)
        spans.append(_segments(measured[settled:end], window))
    _shorten(spans, max(1, MAX_PHRASES - sum(act is not None for act in acts)))
    phrases = []
    for act, segments in zip(acts, spans, strict=True):
        if act:
            phrases.append(act)
        for segment in segments:
            if directions := directions_of(segment / scale):
                phrases.append(MotionPhrase(directions))
    return tuple(phrases) or (MotionPhrase(),)


def _segments(steps: np.ndarray, window: int) -> list[np.ndarray]:
    """[n, A] motion in (equivalent) centimetres -> net motion of each phrase."""
    path = np.vstack([np.zeros(steps.shape[1]), np.cumsum(steps, axis=0)])
    edges = _edges(_windowed(path, window))
    nets = [path[end] - path[start] for start, end in pairwise(edges)]
    tiny = max(_TINY_CM, _TINY_SHARE * float(np.abs(steps).sum()))
    while len(nets) > 1:
        sizes = [float(np.abs(net).max()) for net in nets]
        smallest = min(range(len(nets)), key=sizes.__getitem__)
        if sizes[smallest] >= tiny:
            break
        _join(nets, _better_neighbour(nets, smallest))
    index = 0
    while index < len(nets) - 1:
        if _signs(nets[index]) == _signs(nets[index + 1]):
            _join(nets, index)
        else:
            index += 1
    return nets


def _windowed(path: np.ndarray, window: int) -> list[list[float]]:
    """[n+1, A] path -> n rows of motion over the window around each step."""
    count = len(path) - 1
    step = np.arange(count)
    low = np.clip(step - (window - 1) // 2, 0, count)
    high = np.clip(step + 1 + window // 2, 0, count)
    return (path[high] - path[low]).tolist()


def _edges(windowed: list[list[float]]) -> list[int]:
    """Steps at which the dominant signed axis changes, with the first and the end."""
    edges = [0]
    axis, sign = -1, 0
    named: tuple[int, int] | None = None
    for step, motion in enumerate(windowed):
        leading = max(range(len(motion)), key=lambda index: abs(motion[index]))
        strength = abs(motion[leading])
        held = motion[axis] * sign if axis >= 0 else 0.0
        if held >= LEAVE_CM and (strength < _TAKES_OVER * held or strength < ENTER_CM):
            continue
        if strength < ENTER_CM:
            axis = -1
            continue
        new = (leading, 1 if motion[leading] > 0 else -1)
        # A rest between two phrases belongs to the one before it.
        if named and new != named:
            edges.append(step)
        axis, sign = named = new
    return [*edges, len(windowed)]


def _better_neighbour(nets: list[np.ndarray], index: int) -> int:
    """Which pair (i, i + 1) to join so that phrase `index` vanishes with the least loss."""
    pairs = [first for first in (index - 1, index) if 0 <= first < len(nets) - 1]
    return min(pairs, key=lambda first: _loss(nets[first], nets[first + 1]))


def _loss(first: np.ndarray, second: np.ndarray) -> float:
    """Path that disappears when two motions are told as one, cm."""
    return float(np.linalg.norm(first) + np.linalg.norm(second) - np.linalg.norm(first + second))


def _join(nets: list[np.ndarray], first: int) -> None:
    nets[first : first + 2] = [nets[first] + nets[first + 1]]


def _signs(net: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Which axes count, in order of size, and their signs."""
    sizes = np.abs(net)
    order = [int(axis) for axis in np.argsort(-sizes) if sizes[axis] >= max(ENTER_CM, 0.25 * sizes.max())]
    return tuple((axis, int(np.sign(net[axis]))) for axis in order)


def _shorten(spans: list[list[np.ndarray]], most: int) -> None:
    """Join the pairs that lose least until all spans together have at most `most` phrases, one per span at least."""
    while sum(map(len, spans)) > most:
        pairs = [(_loss(a, b), i, k) for i, nets in enumerate(spans) for k, (a, b) in enumerate(pairwise(nets))]
        if not pairs:
            return
        _, span, first = min(pairs)
        _join(spans[span], first)
