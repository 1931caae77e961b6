"""Triangles: the robot's published meshes made light enough for software rendering, and turned shapes.

Knows binary STL and nothing of MuJoCo. Metres.
"""

import io
import zipfile
from pathlib import Path

import numpy as np

from vlm2vla.errors import NotFoundError
from vlm2vla.workspace import write_atomic

_STL_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])

# Meshes below this stay as they are.
_LIGHT_FACES = 600


def read_stl(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [N, 3] and faces [F, 3] of a binary STL file; corners at the same place are one vertex.

    Raises:
        NotFoundError: The file is missing or not a binary STL.
    """
    try:
        data = path.read_bytes()
        count = int.from_bytes(data[80:84], "little")
        faces = np.frombuffer(data, _STL_FACE, count, 84)["corners"].astype(np.float64)
    except (OSError, ValueError) as error:
        raise NotFoundError(f"cannot read the mesh {path.name} of hello-robot-stretch-urdf: {error}") from error
    vertices, index = np.unique(faces.reshape(-1, 3), axis=0, return_inverse=True)
    return vertices, index.reshape(-1, 3)


def decimate(vertices: np.ndarray, faces: np.ndarray, cell_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of one grid cell become their mean; faces that collapse or double vanish."""
    keys = np.round(vertices / cell_m).astype(np.int64)
    _, index, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    index = index.ravel()
    merged = np.zeros((len(counts), 3))
    np.add.at(merged, index, vertices)
    merged /= counts[:, None]
    faces = index[faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    faces = faces[whole]
    first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1]
    return merged, faces[np.sort(first)]


def light_mesh(source: Path, cache: Path, cell_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of an STL file, decimated; made once and kept in `cache`.

    Raises:
        NotFoundError: The file is missing or not a binary STL.
    """
    kept = cache / f"{source.stem}-{cell_m * 1000:g}mm.npz"
    if kept.exists():
        try:
            with np.load(kept) as arrays:
                return arrays["vertices"], arrays["faces"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            kept.unlink(missing_ok=True)  # damaged: make it again
    vertices, faces = read_stl(source)
    if len(faces) > _LIGHT_FACES:
        vertices, faces = decimate(vertices, faces, cell_m)
    cache.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, vertices=vertices, faces=faces)
    write_atomic(kept, buffer.getvalue(), durable=False)
    return vertices, faces


def turned(profile: np.ndarray, *, segments: int = 28, crisp: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The surface that a closed profile [N, 2] of (radius, height) draws when it turns about z.

    The profile runs counter-clockwise seen with the radius to the right and height up, so that faces look outward.
    With `crisp` its corners are edges, else they are shaded round.
    """
    angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if crisp:
        profile = np.stack([profile, np.roll(profile, -1, axis=0)], axis=1).reshape(-1, 2)
    count = len(profile)
    vertices = np.concatenate(
        [np.column_stack([radius * ring, np.full(segments, height)]) for radius, height in profile]
    )
    faces = []
    for level in range(0, count, 2 if crisp else 1):
        above = (level + 1) % count
        for step in range(segments):
            after = (step + 1) % segments
            a, b = level * segments + step, level * segments + after
            c, d = above * segments + after, above * segments + step
            faces += [(a, b, c), (a, c, d)]
    return vertices, np.array(faces)
