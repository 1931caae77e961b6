"""What all action forms share: the grid of multiples, cumulative rounding, and the limits of a chunk.

Pure numpy; knows no words and no punctuation.
"""

from dataclasses import dataclass

import numpy as np

from vlm2vla.errors import ActionParseError, AnnotationError
from vlm2vla.language.scale import MAX_CHARS, MAX_ROWS, Scale
from vlm2vla.types import ActionChunk


@dataclass(frozen=True)
class QuantizedForm:
    """Base of the forms: numbers <-> whole multiples.

    Attributes:
        centimetres: Grid of translations.
        degrees: Grid of rotations, or None in a translation-only form.
    """

    centimetres: Scale
    degrees: Scale | None = None

    @property
    def rotation(self) -> bool:
        """Whether the form says rotations (D = 7) or only translations (D = 4)."""
        return self.degrees is not None

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Scale of each value of a row before the gripper."""
        return (self.centimetres,) * 3 + ((self.degrees,) * 3 if self.degrees else ())

    def quantize(self, chunk: ActionChunk) -> ActionChunk:
        """What the text can say: every value on the grid, [H, D] with the D of this form.

        Rounding is carried from row to row, so the sum over any first rows, and over all of them, is within half
        a step of the exact sum. Rotations are dropped by a translation-only form and are zero where the chunk has
        none. Idempotent.

        Raises:
            AnnotationError: A value is not finite, or a gripper command is neither 0 nor 1.
        """
        multiples, gripper = self._multiples(chunk)
        return self._chunk(multiples, gripper)

    def _factors(self) -> np.ndarray:
        return np.array([scale.per_si / scale.step for scale in self.scales])

    def _multiples(self, chunk: ActionChunk) -> tuple[np.ndarray, np.ndarray]:
        """[H, D-1] whole multiples and [H] gripper bits."""
        rows = chunk.rows
        if not np.isfinite(rows).all():
            raise AnnotationError("the action chunk holds values that are not finite")
        gripper = rows[:, -1]
        if not ((gripper == 0) | (gripper == 1)).all():
            raise AnnotationError("gripper commands must be exactly 0 or 1; binarise them first")
        width = 6 if self.rotation else 3
        values = rows[:, : min(width, rows.shape[1] - 1)]
        if values.shape[1] < width:
            values = np.hstack([values, np.zeros((len(rows), width - values.shape[1]))])
        reached = np.rint(np.cumsum(values * self._factors(), axis=0))
        return np.diff(reached, axis=0, prepend=0.0).astype(np.int64), gripper.astype(np.int64)

    def _speakable(self, chunk: ActionChunk) -> tuple[list[list[int]], list[int]]:
        """Multiples and gripper bits as lists, checked against the limits.

        Raises:
            AnnotationError: As `quantize`; too many rows, or a row that moves too far.
        """
        multiples, gripper = self._multiples(chunk)
        if len(multiples) > MAX_ROWS:
            raise AnnotationError(
                f"a chunk of {len(multiples)} rows is more than the {MAX_ROWS} that action text may have; "
                "split the subtask"
            )
        most = np.array([scale.most for scale in self.scales])
        if len(multiples) and (np.abs(multiples) > most).any():
            row, axis = np.argwhere(np.abs(multiples) > most)[0]
            scale = self.scales[axis]
            raise AnnotationError(
                f"row {row} moves {multiples[row, axis] * scale.step:g} {scale.suffix} on axis {axis}; "
                f"at most {scale.limit:g} can be said: check the units"
            )
        return multiples.tolist(), gripper.tolist()

    def _chunk(self, multiples: np.ndarray | list[list[int]], gripper: np.ndarray | list[int]) -> ActionChunk:
        """[H, D-1] multiples (whole or not) and [H] bits -> chunk in metres and radians."""
        width = len(self.scales)
        values = np.asarray(multiples, dtype=np.float64).reshape(-1, width) / self._factors()
        bits = np.asarray(gripper, dtype=np.float64).reshape(-1, 1)
        # Adding zero turns -0.0 into 0.0.
        return ActionChunk(np.hstack([values + 0.0, bits]))


def checked_length(text: str) -> str:
    """`text`, when a parser would accept its length.

    Raises:
        AnnotationError: It is longer than MAX_CHARS.
    """
    if len(text) > MAX_CHARS:
        raise AnnotationError(
            f"the action text is {len(text)} characters long, more than {MAX_CHARS}; split the subtask"
        )
    return text


def checked_value(value: float, scale: Scale, text: str, position: int) -> float:
    """`value` (centimetres or degrees) when one row may say it.

    Raises:
        ActionParseError: It is beyond the limit.
    """
    if abs(value) > scale.limit:
        raise ActionParseError(
            f"{value:g} {scale.suffix} is beyond the {scale.limit:g} of one row", text=text, position=position
        )
    return value
