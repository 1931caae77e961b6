"""Frames of an episode for a model to look at: which steps, and numbered, timestamped sheets of them.

Pictures only; knows no prompt and no model.
"""

import io
from dataclasses import dataclass

import numpy as np

from vlm2vla import motion
from vlm2vla.types import Episode
from vlm2vla.vlm.protocol import ImagePart

# One radian of rotation counts as this much travel, so that turning on the spot gets frames too.
_METRES_PER_RADIAN = 0.05
# Share of the mean step that every step counts at least, so that standing still gets some frames too.
_IDLE_SHARE = 0.1


@dataclass(frozen=True)
class SheetLayout:
    """How sheets look.

    Attributes:
        columns, rows: Frames of one sheet.
        tile_px: Width of a frame; its height follows the camera.
        label_px: Height of the strip above each frame that carries step and time.
        gap_px: Black between frames of a row, so that two of them are not taken for one.
        quality: Of the JPEG.
    """

    columns: int = 4
    rows: int = 4
    tile_px: int = 256
    label_px: int = 30
    gap_px: int = 6
    quality: int = 85


DEFAULT_LAYOUT = SheetLayout()


def sample_steps(episode: Episode, count: int, span: tuple[int, int] | None = None) -> tuple[int, ...]:
    """Steps worth looking at: first, last, where the gripper changes, and the rest evenly along the path.

    Args:
        episode: The recording.
        count: At most this many, at least 2.
        span: Half-open steps to look at; all without it.

    Returns:
        Ascending step numbers within the span.
    """
    start, end = span or (0, len(episode))
    last = end - 1
    if end - start <= count:
        return tuple(range(start, end))
    chosen = {start, last}
    changes = gripper_changes(episode, (start, end))
    wanted = [step for change in changes for step in (change - 1, change)]
    room = max(0, count - 2)
    if len(set(wanted) - chosen) > room:
        wanted = [changes[index] for index in np.linspace(0, len(changes) - 1, min(room, len(changes))).astype(int)]
    chosen.update(wanted)
    path = _path_length(episode, start, end)
    while len(chosen) < count:
        chosen.add(_middle_of_widest_gap(sorted(chosen), path, start))
    return tuple(sorted(chosen))


def gripper_changes(episode: Episode, span: tuple[int, int]) -> tuple[int, ...]:
    """Steps of a half-open span whose gripper command differs from the step before in the span."""
    start, end = span
    return tuple(int(step) + start + 1 for step in np.flatnonzero(np.diff(motion.gripper_bits(episode)[start:end])))


def _path_length(episode: Episode, start: int, end: int) -> np.ndarray:
    """[end - start] length of the path up to each step of the span, strictly increasing, metres."""
    rows = motion.actions(episode)[start : end - 1]
    length = np.linalg.norm(rows[:, :3], axis=1) + _METRES_PER_RADIAN * np.linalg.norm(rows[:, 3:6], axis=1)
    length += max(_IDLE_SHARE * float(length.mean()), 1e-6)
    return np.concatenate([[0.0], np.cumsum(length)])


def _middle_of_widest_gap(chosen: list[int], path: np.ndarray, start: int) -> int:
    """The step nearest to the middle of the longest stretch of path that has no chosen step inside."""
    gaps = [(path[b - start] - path[a - start], a, b) for a, b in zip(chosen, chosen[1:], strict=False) if b - a > 1]
    _, before, after = max(gaps, key=lambda gap: (gap[0], -gap[1]))
    inside = np.arange(before + 1, after)
    middle = (path[before - start] + path[after - start]) / 2
    return int(inside[np.argmin(np.abs(path[inside - start] - middle))])


def contact_sheets(
    episode: Episode,
    steps: tuple[int, ...],
    *,
    camera: str | None = None,
    layout: SheetLayout = DEFAULT_LAYOUT,
) -> tuple[ImagePart, ...]:
    """Lay frames out, row by row, each under a strip with "step 12   2.4 s".

    Raises:
        NotFoundError: The episode has no such camera.
        CorruptRecordError: A frame is missing or does not decode.
    """
    per_sheet = layout.columns * layout.rows
    return tuple(
        _sheet(episode, steps[first : first + per_sheet], camera, layout) for first in range(0, len(steps), per_sheet)
    )


def _sheet(episode: Episode, steps: tuple[int, ...], camera: str | None, layout: SheetLayout) -> ImagePart:
    from PIL import Image, ImageDraw, ImageFont

    frames = [_tile(episode.image(step, camera), layout.tile_px) for step in steps]
    height = max(frame.height for frame in frames) + layout.label_px
    columns = min(layout.columns, len(frames))
    rows = -(-len(frames) // columns)
    pitch = layout.tile_px + layout.gap_px
    sheet = Image.new("RGB", (columns * pitch - layout.gap_px, rows * height), "black")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=layout.label_px * 0.72)
    for index, (step, frame) in enumerate(zip(steps, frames, strict=True)):
        left, top = index % columns * pitch, index // columns * height
        sheet.paste(frame, (left, top + layout.label_px))
        draw.text((left + 6, top + layout.label_px / 2), f"step {step}", fill="white", font=font, anchor="lm")
        label = f"{step / episode.rate_hz:.1f} s"
        right = left + layout.tile_px - 6
        draw.text((right, top + layout.label_px / 2), label, fill="yellow", font=font, anchor="rm")
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=layout.quality)
    return ImagePart(buffer.getvalue(), "image/jpeg")


def _tile(image, width: int):
    """The frame at the width of a tile, aspect kept."""
    return image.resize((width, max(1, round(image.height * width / image.width))))
