"""The one place where numbers of any source become an `Episode`, or a typed reason why they cannot.

Knows shapes, units and plausibility; knows no file format. Every reader ends here.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import InvalidEpisodeError, TrajectoryError
from vlm2vla.motion import unwrap_angles
from vlm2vla.types import Episode, FrameSource, Source, Subtask

# Told about each problem that does not stop the reading.
OnError = Callable[[TrajectoryError], None]

# Euler angles of a recording lie within two turns; larger ones are degrees.
_MAX_ANGLE = 4 * np.pi
_MIN_STEPS = 2
MAX_INSTRUCTION = 1000
_JOINERS = "\u200c\u200d"
# What reading a value of the wrong kind raises; files come from strangers, so any value may be of any kind.
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, NotImplementedError, RecursionError)
# Commanded and reached paths of a good recording part by the controller's lag only.
_COMMAND_GAP_M = 0.1


def make_episode(
    *,
    dataset: str,
    source: Source,
    instruction: str,
    embodiment: Embodiment,
    rate_hz: float,
    states: np.ndarray,
    commands: np.ndarray | None = None,
    cameras: Mapping[str, FrameSource] | None = None,
    paraphrases: Sequence[str] = (),
    subtasks: Sequence[Subtask] = (),
    notes: Sequence[str] = (),
    record: int | str | None = None,
) -> Episode:
    """Check everything and build the episode.

    Args:
        dataset: Name to import under.
        source: Where it came from.
        instruction: The task in words.
        embodiment: The robot; its limits tell a unit error.
        rate_hz: True rate of the steps.
        states: [T, 7] reached x y z roll pitch yaw and gripper opening, metres, radians, 1 open.
        commands: [T, 7] commanded deltas and absolute gripper, or None.
        cameras: Lazy frames by name, the default view first.
        paraphrases: Other wordings of the instruction.
        subtasks: Subtasks that came with the source.
        notes: What the reader decided.
        record: Position in the file, for error messages.

    Raises:
        InvalidEpisodeError: No instruction, wrong shapes, NaN, or values that no such robot can reach.
    """

    def refuse(message: str) -> None:
        raise InvalidEpisodeError(message, path=source.path, record=record)

    instruction = clean_text(instruction)
    if not instruction:
        refuse("the episode has no instruction, so there is nothing to relabel; write one into the source, or leave it")
    if len(instruction) > MAX_INSTRUCTION:
        refuse(f"the instruction has {len(instruction)} characters; at most {MAX_INSTRUCTION} are a task in words")
    if not np.isfinite(rate_hz) or rate_hz <= 0:
        refuse(f"the rate of the steps is {rate_hz}; give the true one with --rate-hz")
    states = _numbers(states, "state", refuse)
    if len(states) < _MIN_STEPS:
        refuse(f"only {len(states)} step(s); an episode needs at least {_MIN_STEPS} to have any motion")
    states = unwrap_angles(states)
    notes = list(notes)
    _check_states(states, embodiment, rate_hz, refuse)
    if commands is not None:
        commands = _numbers(commands, "action", refuse)
        if commands.shape != states.shape:
            refuse(f"{len(commands)} actions for {len(states)} states; they must be equal in number")
        _check_commands(commands, embodiment, refuse)
        _check_gripper_agrees(commands, states, refuse)
        notes += _command_notes(commands, states)
    for array in (states, commands):
        if array is not None:
            array.setflags(write=False)
    return Episode(
        id=episode_id(dataset, source.ids, states),
        dataset=dataset,
        source=source,
        instruction=instruction,
        embodiment=embodiment,
        rate_hz=float(rate_hz),
        states=states,
        commands=commands,
        cameras=dict(cameras or {}),
        paraphrases=_other_wordings(paraphrases, instruction),
        subtasks=tuple(replace(subtask, text=clean_text(subtask.text)) for subtask in subtasks),
        notes=tuple(notes),
    )


def clean_text(text: str) -> str:
    """Text from a stranger in one line, without characters that nobody sees (control, bidi, half surrogates, ...).

    The joiners that Indic scripts are written with stay.
    """
    seen = "".join(
        letter if letter in _JOINERS or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co") else " "
        for letter in text
    )
    return " ".join(seen.split())


@contextmanager
def malformed_as(kind: type[TrajectoryError], path: Path | str, record: int | str | None = None) -> Iterator[None]:
    """Values of the wrong kind inside become one typed error.

    Args:
        kind: The error to raise.
        path: File or folder it is about.
        record: Position in it.
    """
    try:
        yield
    except _MALFORMED as error:
        raise kind(f"the content is not as this format has it: {error!r}", path=path, record=record) from error


def episode_id(dataset: str, ids: Mapping[str, str], states: np.ndarray) -> str:
    """Stable name of an episode: the same content has the same name wherever its file lies.

    Made of the source's own keys and the reached states; rounding to float32 makes it independent of the container.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(json.dumps(dict(ids), sort_keys=True).encode())
    # Adding zero turns -0.0 into 0.0.
    digest.update((states.astype(np.float32) + np.float32(0)).tobytes())
    return f"{safe_name(dataset)}-{digest.hexdigest()[:12]}"


def safe_name(name: str) -> str:
    """`name` with everything replaced that could harm in a file name or a URL."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "dataset"


def pad_commands(commands: np.ndarray) -> np.ndarray:
    """[T - 1, 7] -> [T, 7]: the last frame has no action; it gets no motion and keeps the gripper."""
    last = np.zeros((1, commands.shape[1]))
    if len(commands):
        last[0, 6] = commands[-1, 6]
    return np.concatenate([commands, last])


def _numbers(values: np.ndarray, what: str, refuse: Callable[[str], None]) -> np.ndarray:
    """A [T, 7] float64 copy, all finite."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        refuse(f"the {what} rows are not all numbers of equal length")
    if numbers.ndim != 2 or numbers.shape[1] != 7:
        refuse(
            f"{what} has shape {list(numbers.shape)}, not [T, 7] (x y z roll pitch yaw gripper); "
            "is this data set in another action space?"
        )
    bad = ~np.isfinite(numbers)
    if bad.any():
        step, axis = np.argwhere(bad)[0]
        refuse(f"{what} holds {int(bad.sum())} values that are not finite, the first at step {step}, value {axis}")
    return numbers


def _check_states(states: np.ndarray, embodiment: Embodiment, rate_hz: float, refuse: Callable[[str], None]) -> None:
    """Positions, angles, gripper and jumps; `states` have continuous angles."""
    limits = np.array(embodiment.ee_limits)
    reach = limits[:, 1] - limits[:, 0]
    outside = np.maximum(limits[:, 0] - states[:, :3], states[:, :3] - limits[:, 1]) / reach
    if outside.max() > 0.5:
        step, axis = np.unravel_index(outside.argmax(), outside.shape)
        refuse(
            f"position {'xyz'[axis]} = {states[step, axis]:.4g} m at step {step} is far outside the reach of the "
            f"{embodiment.title} ({limits[axis, 0]:g} to {limits[axis, 1]:g} m); {_unit_hint(states[:, :3], limits)}"
        )
    if np.abs(states[0, 3:6]).max() > _MAX_ANGLE or np.ptp(states[:, 3:6], axis=0).max() > 4 * _MAX_ANGLE:
        refuse("roll, pitch, yaw are not radians (degrees?); convert them: multiply by pi / 180")
    if states[:, 6].min() < -0.5 or states[:, 6].max() > 1.5:
        refuse(
            f"gripper opening runs from {states[:, 6].min():.3g} to {states[:, 6].max():.3g}; it must be 0 closed to "
            "1 open: scale it in the source"
        )
    # The limit is for the usual rate; slower recordings move further in one step.
    longest = embodiment.max_step_m * max(1.0, embodiment.rate_hz / rate_hz)
    steps = np.linalg.norm(np.diff(states[:, :3], axis=0), axis=1)
    if steps.max() > longest:
        refuse(
            f"the end-effector jumps {steps.max() * 100:.0f} cm from step {steps.argmax()} to the next, more than "
            f"{longest * 100:.0f} cm: a gap or a unit error in the recording; cut or repair the episode"
        )


def _unit_hint(positions: np.ndarray, limits: np.ndarray) -> str:
    for unit, factor in (("centimetres", 100), ("millimetres", 1000)):
        scaled = positions / factor
        if (scaled >= limits[:, 0]).all() and (scaled <= limits[:, 1]).all():
            return f"the values fit {unit}: divide them by {factor}"
    return "check units and frame of the source"


def _check_commands(commands: np.ndarray, embodiment: Embodiment, refuse: Callable[[str], None]) -> None:
    """Tell metres and radians from rescaled actions, and an absolute 0..1 gripper from other meanings."""
    motion = np.abs(commands[:, :6])
    moving = motion[motion.max(axis=1) > 1e-6]
    if len(moving):
        xyz, rotation = moving[:, :3], moving[:, 3:6]
        # A few wild commands occur in good episodes; a unit error is in all of them.
        typical = np.quantile(xyz.max(axis=1), 0.5), np.quantile(rotation.max(axis=1), 0.5)
        if typical[0] > embodiment.max_step_m or typical[1] > embodiment.max_step_rad:
            if xyz.max() <= 1.75 and rotation.max() <= 1.4:
                refuse(
                    "actions are rescaled, not metres and radians (values up to "
                    f"{xyz.max():.2f} and {rotation.max():.2f}): restore xyz * 0.05 / 1.75, rotation * 0.25 / 1.4, "
                    "and the gripper as open = (value < 0), then import again"
                )
            refuse(
                f"half of the actions move more than {typical[0]:.3g} or turn more than {typical[1]:.3g} in one step, "
                "so they are not metres and radians (mm, cm, degrees or normalised?); convert them in the source"
            )
    gripper = commands[:, 6]
    if gripper.min() < -0.1 or gripper.max() > 1.1:
        refuse(
            f"gripper commands run from {gripper.min():.3g} to {gripper.max():.3g}, not from 0 (closed) to 1 (open); "
            "in rescaled clips +1 means closed: restore open = (value < 0), then import again"
        )


def _check_gripper_agrees(commands: np.ndarray, states: np.ndarray, refuse: Callable[[str], None]) -> None:
    """Commanded and measured gripper must count the same way; the measured one follows a step later."""
    told, measured = commands[:-1, 6], states[1:, 6]
    if min(told.std(), measured.std()) > 0.2 and np.corrcoef(told, measured)[0, 1] < -0.5:
        refuse(
            "gripper command and measured opening move against each other; one of them counts 1 as closed: turn it "
            "round in the source (1 open, 0 closed)"
        )


def _command_notes(commands: np.ndarray, states: np.ndarray) -> list[str]:
    """Properties of the commands that a person who chooses `commanded` motion should know."""
    notes = []
    reached = states[:, :3] - states[0, :3]
    commanded = np.concatenate([np.zeros((1, 3)), np.cumsum(commands[:-1, :3], axis=0)])
    gap = np.abs(commanded - reached).max(axis=0)
    if gap.max() > _COMMAND_GAP_M:
        notes.append(
            f"commands add up to {gap.max() * 100:.0f} cm more in {'xyz'[int(gap.argmax())]} than the robot moved "
            "(clipped by its workspace, or noise): use reached motion"
        )
    if np.abs(commands[0, :6]).max() < 1e-6 and np.abs(commands[1:, :6]).max() > 1e-6:
        notes.append("the first command is zero, as the recorder writes it")
    return notes


def _other_wordings(paraphrases: Sequence[str], instruction: str) -> tuple[str, ...]:
    cleaned = (clean_text(text) for text in paraphrases)
    return tuple(dict.fromkeys(text for text in cleaned if text and text != instruction))
