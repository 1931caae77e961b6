"""Builds what Gemini is asked about an episode: contact sheets, the recorded path, the axes, the order.

The instruction and hints of people go in as quoted data. Knows no SDK and no answer.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from vlm2vla import motion
from vlm2vla.annotation.contact_sheet import DEFAULT_LAYOUT, SheetLayout, contact_sheets, gripper_changes, sample_steps
from vlm2vla.annotation.gemini_answers import Description, Segmentation
from vlm2vla.errors import AnnotationError
from vlm2vla.types import Episode
from vlm2vla.vlm.protocol import ImagePart, Thinking, VLMRequest

_PROMPTS = Path(__file__).with_name("prompts")
_NAMES = ("gemini_system", "gemini_describe", "gemini_segment", "gemini_rotation", "gemini_rotation_plan")
MAX_OUTPUT_TOKENS = 8192
# Rows of the path cost few tokens beside a frame, so there are more of them; a gripper that chatters fills no prompt.
PATH_ROWS = 48
MAX_CHANGES = 64


@cache
def _prompt(name: str) -> str:
    return (_PROMPTS / f"{name}.txt").read_text(encoding="utf-8")


@cache
def prompts_hash() -> str:
    """Twelve hex digits over the prompt texts and schemas: labels with the same hash were asked for in the same way."""
    schemas = [json.dumps(schema.model_json_schema(), sort_keys=True) for schema in (Description, Segmentation)]
    return hashlib.sha256("\0".join([*map(_prompt, _NAMES), *schemas]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class View:
    """What is shown of an episode.

    Attributes:
        episode: The recording.
        span: Half-open steps to label.
        steps: Steps whose frames are shown.
        sheets: Their contact sheets.
        hint: What a person knows, "" for nothing.
        rotation: Whether roll, pitch and yaw are shown too.
    """

    episode: Episode
    span: tuple[int, int]
    steps: tuple[int, ...]
    sheets: tuple[ImagePart, ...]
    hint: str
    rotation: bool

    @property
    def changes(self) -> tuple[int, ...]:
        """Steps of the span at which the gripper command changes."""
        return gripper_changes(self.episode, self.span)

    @property
    def path_steps(self) -> tuple[int, ...]:
        """Steps whose numbers are shown: evenly spaced ones, every gripper change, and every frame."""
        start, end = self.span
        even = np.linspace(start, end - 1, min(PATH_ROWS, end - start)).round().astype(int)
        return tuple(sorted({*even.tolist(), *self.changes[:MAX_CHANGES], *self.steps}))


def make_view(
    episode: Episode,
    *,
    max_frames: int,
    rotation: bool,
    span: tuple[int, int] | None = None,
    hint: str = "",
    layout: SheetLayout = DEFAULT_LAYOUT,
) -> View:
    """Choose and draw the frames.

    Raises:
        AnnotationError: The span is not in the episode, or the episode has no camera.
        CorruptRecordError: A frame does not decode.
    """
    start, end = span or (0, len(episode))
    if not 0 <= start < end <= len(episode):
        raise AnnotationError(f"{episode.id} has steps 0 to {len(episode)}; there is no span {start} to {end}")
    if not episode.cameras:
        raise AnnotationError(
            f"{episode.id} has no camera, so Gemini has nothing to look at; use the kinematic annotator"
        )
    steps = sample_steps(episode, max_frames, (start, end))
    return View(episode, (start, end), steps, contact_sheets(episode, steps, layout=layout), hint, rotation)


def describe_request(view: View, thinking: Thinking) -> VLMRequest:
    """The first of two passes."""
    text = _prompt("gemini_describe").format(**_fields(view))
    return VLMRequest(_system(view), (*_sheets(view), text), Description, MAX_OUTPUT_TOKENS, thinking)


def segment_request(view: View, thinking: Thinking, description: Description | None = None) -> VLMRequest:
    """The second pass, or the only one without a description."""
    start, end = view.span
    known = f"\nWhat happens, as you described it before:\n{describe(description)}\n" if description else ""
    rotation = _prompt("gemini_rotation_plan") if view.rotation else ""
    text = _prompt("gemini_segment").format(**_fields(view), description=known, first=start, end=end, rotation=rotation)
    return VLMRequest(_system(view), (*_sheets(view), text), Segmentation, MAX_OUTPUT_TOKENS, thinking)


def describe(description: Description) -> str:
    """A description as lines of text."""
    lines = [f"- step {event.step}: {' '.join(event.what.split())}" for event in description.events]
    ending = f"- at the end the task is {'done' if description.task_done else 'not done'}"
    return "\n".join((f"- objects: {', '.join(description.objects)}", *lines, ending))


def path_table(view: View) -> str:
    """The recorded path as text: centimetres and degrees relative to the first row, and the gripper.

    The command (open or closed) and the measured opening (0..1) are columns of their own: the fingers lag behind.
    """
    episode, steps = view.episode, list(view.path_steps)
    states = motion.unwrap_angles(episode.states)[steps]
    places = (states[:, :3] - states[0, :3]) * 100.0
    turns = np.degrees(states[:, 3:6] - states[0, 3:6])
    openings = np.clip(states[:, 6], 0.0, 1.0)
    commands = motion.gripper_bits(episode)[steps]
    names = ("step", "time_s", "x_cm", "y_cm", "z_cm", *(("roll_deg", "pitch_deg", "yaw_deg") if view.rotation else ()))
    lines = [" ".join((*names, "gripper_command", "measured_opening"))]
    for step, place, turn, bit, opening in zip(steps, places, turns, commands, openings, strict=True):
        numbers = (*place, *turn) if view.rotation else place
        cells = (f"{value:.1f}".replace("-0.0", "0.0") for value in numbers)
        command = "open" if bit else "closed"
        lines.append(" ".join((str(step), f"{step / episode.rate_hz:.1f}", *cells, command, f"{opening:.1f}")))
    return "\n".join(lines)


def gripper_line(view: View) -> str:
    """The exact steps at which the gripper command changes, as a sentence."""
    episode, changes = view.episode, view.changes
    bits = motion.gripper_bits(episode)
    listed = ", ".join(f"{step} ({'open' if bits[step] else 'close'})" for step in changes[:MAX_CHANGES])
    more = f" and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
    source = "" if episode.commands is not None else " (no commands were recorded: taken from the measured opening)"
    if not changes:
        return f"The gripper command{source} does not change: {'open' if bits[view.span[0]] else 'closed'} throughout."
    return f"The gripper command{source} changes at exactly these steps: {listed}{more}."


def _system(view: View) -> str:
    rotation = _prompt("gemini_rotation") if view.rotation else ""
    return _prompt("gemini_system").format(frame=view.episode.embodiment.frame_text, rotation=rotation)


def _sheets(view: View) -> tuple[str | ImagePart, ...]:
    parts: list[str | ImagePart] = []
    for number, sheet in enumerate(view.sheets, 1):
        parts += [f"Contact sheet {number} of {len(view.sheets)}:", sheet]
    return tuple(parts)


def _fields(view: View) -> dict[str, str]:
    episode, (start, end) = view.episode, view.span
    whole = (start, end) == (0, len(episode))
    label = "Label all of them." if whole else f"Label only steps {start} to {end - 1}; no others are shown."
    hint = f"A person who knows this part says (data): <hint>{_quoted(view.hint)}</hint>\n" if view.hint else ""
    facts = f"The recording has {len(episode)} steps, numbered 0 to {len(episode) - 1}, {episode.rate_hz:g} per second."
    return {
        "task": _quoted(episode.instruction),
        "hint": hint,
        "episode": f"{facts} {label}",
        "path": f"{path_table(view)}\n{gripper_line(view)}",
    }


def _quoted(text: str) -> str:
    """A JSON string that cannot close the tag around it."""
    return json.dumps(text, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")
