"""The paper's merging rule: many small recorded steps become few rows that are worth saying.

Pure numbers: metres and radians in, metres and radians out; knows no words and no rounding.
"""

import numpy as np

from vlm2vla.errors import AnnotationError
from vlm2vla.types import ActionChunk

IDLE_CM = 0.5
"""Motion that stays below this on every axis is no row of its own (about twice the sensors' noise)."""
IDLE_DEG = 3.0
"""The same for rotation."""
REVERSAL_CM = 0.5
"""Coming back this far on the leading axis is a change of sign; less is jitter."""
_SETTLED_CM = 0.25


def merge_steps(
    actions: np.ndarray,
    *,
    rotation: bool,
    axis_cm: float = 2.5,
    total_cm: float = 5.0,
    axis_deg: float = 15.0,
    gripper_before: float | None = None,
) -> ActionChunk:
    """Merge per-step motion (as of `vlm2vla.motion.actions`) into rows.

    A row ends when one axis has moved `axis_cm` without change of sign; when the path, summed over the axes, is
    `total_cm`; at the point from which its leading axis turns back; and where the gripper command changes. With
    `rotation` it also ends at `axis_deg` about one axis (the paper has no rotation and no such rule). Idle steps
    make no row; what they moved goes to a neighbour, so the sum of the rows is the sum of the steps; only a span
    that is idle as a whole becomes no rows at all. The gripper that changes while the arm rests is a row of zeros.
    The remainder is a last, shorter row.

    Args:
        actions: [T, 7] dx dy dz droll dpitch dyaw (metres, radians) and gripper command, 0 or 1.
        rotation: Make [H, 7] rows instead of [H, 4].
        axis_cm: Centimetres on one axis that end a row.
        total_cm: Centimetres of path, summed over the axes, that end a row.
        axis_deg: Degrees about one axis that end a row.
        gripper_before: Command before the first step; None where there was none, or it does not matter.

    Raises:
        AnnotationError: `actions` is not [T, 7], or not finite.
    """
    steps = checked_actions(actions)
    width = 6 if rotation else 3
    gripper = steps[:, 6]
    rows: list[tuple[np.ndarray, float]] = []
    carried = np.zeros(width)
    # Rotations are measured so that axis_deg counts like axis_cm.
    scale = np.array([100.0] * 3 + [np.degrees(1.0) * axis_cm / axis_deg] * 3)[:width]
    idle = np.array([IDLE_CM] * 3 + [IDLE_DEG * axis_cm / axis_deg] * 3)[:width]
    for start, end, changed in gripper_spans(gripper, gripper_before):
        motion = steps[start:end, :width]
        path = np.vstack([np.zeros(width), np.cumsum(motion, axis=0)])
        measured = path * scale
        first = 0
        if changed:
            first = _settling(measured)
            if first:
                rows.append((np.zeros(width), gripper[start]))
        cuts = [first, *_cuts(measured[first:] - measured[first], idle, axis_cm, total_cm, first)]
        pieces = [path[b] - path[a] for a, b in zip(cuts, cuts[1:], strict=False)]
        if len(pieces) > 1 and (np.abs(pieces[-1] * scale) < idle).all():
            pieces[-2:] = [pieces[-2] + pieces[-1]]
        carried = carried + path[first]
        if len(pieces) == 1 and (np.abs((pieces[0] + carried) * scale) < idle).all():
            # Nothing worth a row; it goes on with the next span.
            if changed and not first:
                rows.append((np.zeros(width), gripper[start]))
            carried = carried + pieces[0]
            continue
        for piece in pieces:
            rows.append((piece + carried, gripper[start]))
            carried = np.zeros(width)
    if not rows:
        return ActionChunk(np.zeros((0, width + 1)))
    rows[-1] = (rows[-1][0] + carried, rows[-1][1])
    return ActionChunk(np.array([[*motion, bit] for motion, bit in rows]))


def checked_actions(actions: np.ndarray) -> np.ndarray:
    """`actions` as [T, 7] float64.

    Raises:
        AnnotationError: Another shape, or values that are not finite.
    """
    steps = np.asarray(actions, dtype=np.float64)
    if steps.ndim != 2 or steps.shape[1] != 7:
        raise AnnotationError(f"actions are [T, 7], not {steps.shape}")
    if not np.isfinite(steps).all():
        raise AnnotationError("actions hold values that are not finite")
    return steps


def gripper_spans(gripper: np.ndarray, before: float | None = None) -> list[tuple[int, int, bool]]:
    """[T] commands -> (start, end, changed) of each run of one command; `changed`: there was another one before."""
    if not len(gripper):
        return []
    edges = [0, *(np.flatnonzero(np.diff(gripper)) + 1).tolist(), len(gripper)]
    changed_first = before is not None and bool(gripper[0] != before)
    return [(a, b, changed_first if a == 0 else True) for a, b in zip(edges, edges[1:], strict=False)]


def _settling(measured: np.ndarray) -> int:
    """Steps at the start of a span during which the arm rests (the fingers move)."""
    moving = np.flatnonzero((np.abs(measured[1:]) >= _SETTLED_CM).any(axis=1))
    return int(moving[0]) if len(moving) else len(measured) - 1


def _cuts(measured: np.ndarray, idle: np.ndarray, axis_cm: float, total_cm: float, offset: int) -> list[int]:
    """Where rows end. `measured`: [n+1, A] path from zero, rotation scaled to count like centimetres."""
    points = measured.tolist()
    axes = range(measured.shape[1])
    cuts = []
    start, last = 0, len(points) - 1
    while start < last:
        origin = points[start]
        low, high = list(origin), list(origin)
        peak, peak_at = [0.0] * len(origin), [start] * len(origin)
        path = 0.0
        end = last
        for step in range(start + 1, last + 1):
            here, previous = points[step], points[step - 1]
            done = False
            for axis in axes:
                value = here[axis]
                net = value - origin[axis]
                if abs(net) > abs(peak[axis]):
                    peak[axis], peak_at[axis] = net, step
                low[axis], high[axis] = min(low[axis], value), max(high[axis], value)
                done = done or max(value - low[axis], high[axis] - value) >= axis_cm
                if axis < 3:
                    path += abs(value - previous[axis])
            leading = max(axes, key=lambda axis: abs(peak[axis]))
            top = peak[leading]
            back = (top - (here[leading] - origin[leading])) * (1 if top > 0 else -1)
            if abs(top) >= idle[leading] and back >= REVERSAL_CM:
                end = peak_at[leading]
                break
            if done or path >= total_cm:
                end = step
                break
        cuts.append(end + offset)
        start = end
    return cuts or [offset]
