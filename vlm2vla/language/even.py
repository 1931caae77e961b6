"""Straight ways in rows of equal length: the same motion, said so that few numbers decide all rows.

Merged rows (`merge_steps`) keep the speed of whoever was recorded, so two recordings of one way are written in
different rows. Here a chunk is drawn as a path, small bends are straightened, and each straight way is cut into equal
rows. The sum of the rows and the order of gripper commands stay what they were. Pure numbers, metres and radians.
"""

import numpy as np

from vlm2vla.errors import AnnotationError
from vlm2vla.types import ActionChunk

_IDLE_M = 0.0101  # motion of a gripper run below this joins its neighbour; a hair above one centimetre
_M_PER_RAD = 0.025 / np.radians(15.0)  # rotation bends a way like translation: 15 degrees like 2.5 cm
_ROW_RAD = float(np.radians(11.0))  # what the safety rules let pass in one step


def even_rows(chunk: ActionChunk, *, row_cm: float, row_rad: float = _ROW_RAD, bend_cm: float = 1.5) -> ActionChunk:
    """The chunk with rows of equal length on each straight way.

    Args:
        chunk: [H, 4] or, with rotation, [H, 7].
        row_cm: Longest motion of a row on one axis, centimetres.
        row_rad: Largest turn of a row about one axis.
        bend_cm: A way that strays less than this from its chord is straight.

    Raises:
        AnnotationError: Lengths that are not above 0.
    """
    if min(row_cm, row_rad, bend_cm) <= 0:
        raise AnnotationError("lengths of even rows are above 0")
    width = chunk.rows.shape[1] - 1
    # Everything as metres: what a radian counts as bending the way, and how long it makes a row.
    bends = np.array([1.0] * 3 + [_M_PER_RAD] * 3)[:width]
    lengths = np.array([1.0] * 3 + [row_cm / 100 / row_rad] * 3)[:width]
    rows: list[np.ndarray] = []
    for number, (way, gripper) in enumerate(_runs(chunk, bends)):
        moves = np.abs(way * bends).max(axis=1) >= (_IDLE_M if number else 1e-9)
        still = int(np.argmax(moves)) if moves.any() else len(way)
        if still:  # the fingers act before the arm moves
            rows.append(np.array([*np.zeros(width), gripper]))
        if still == len(way):
            rows[-1][:-1] = way.sum(axis=0)
            continue
        way = np.array(way)
        way[still] += way[:still].sum(axis=0)
        corners = _corners(np.vstack([np.zeros(width), np.cumsum(way[still:] * bends, axis=0)]), bend_cm / 100) / bends
        for leg in np.diff(corners, axis=0):
            count = max(1, int(np.ceil(100 * np.abs(leg * lengths).max() / row_cm - 1e-6)))
            rows += [np.array([*leg / count, gripper])] * count
    return ActionChunk(np.array(rows).reshape(-1, width + 1))


def _runs(chunk: ActionChunk, bends: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """(motions [n, 3 or 6], gripper) of each run of one command.

    A later run that hardly moves stands still; what it moved goes to the way before it.
    """
    edges = [0, *(np.flatnonzero(np.diff(chunk.gripper)) + 1).tolist(), len(chunk)]
    runs = [(chunk.rows[a:b, :-1], float(chunk.gripper[a])) for a, b in zip(edges, edges[1:], strict=False) if b > a]
    steady: list[tuple[np.ndarray, float]] = []
    moved = 0
    for number, (way, gripper) in enumerate(runs):
        if number and np.abs(way.sum(axis=0) * bends).max() < _IDLE_M:
            before = np.array(steady[moved][0])
            before[-1] += way.sum(axis=0)
            steady[moved] = (before, steady[moved][1])
            way = np.zeros((1, len(bends)))
        else:
            moved = number
        steady.append((way, gripper))
    return steady


def _corners(points: np.ndarray, bend_m: float) -> np.ndarray:
    """The ends and those points at which the path turns (Ramer, Douglas and Peucker)."""
    start, end = points[0], points[-1]
    chord = end - start
    length = float(np.linalg.norm(chord))
    inner = points[1:-1]
    if not len(inner):
        return np.vstack([start, end])
    if length < 1e-9:
        strays = np.linalg.norm(inner - start, axis=1)
    else:
        along = np.clip((inner - start) @ chord / length**2, 0.0, 1.0)
        strays = np.linalg.norm(inner - start - along[:, None] * chord, axis=1)
    furthest = int(strays.argmax())
    if strays[furthest] < bend_m:
        return np.vstack([start, end])
    first = _corners(points[: furthest + 2], bend_m)
    return np.vstack([first[:-1], _corners(points[furthest + 1 :], bend_m)])
