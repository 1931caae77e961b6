"""What the two ends of a link say to each other: msgpack structs with bounds on everything, never pickle.

Times of one computer are never compared with those of the other. The server issues ticks (milliseconds of its own
steady clock, from an arbitrary start); a client only ever hands the newest one back. Runs on Python 3.10.
"""

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from vlm2vla.errors import RobotError
from vlm2vla.robot.protocol import ActionResult, Observation, RobotStatus

VERSION = 3
MAX_REQUEST_BYTES = 16_384
MAX_BEAT_BYTES = 4_096
# What a view may have around its images.
VIEW_OVERHEAD_BYTES = 65_536

Token = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=2_000)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Seven = Annotated[list[float], Meta(min_length=7, max_length=7)]
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all of them."""


class Hello(Message, tag="hello"):
    """I want to talk."""

    id: Count
    version: int
    operator: Annotated[str, Meta(max_length=80)]


class TakeControl(Message, tag="take"):
    """I want to drive."""

    id: Count
    session: Token


class GiveControl(Message, tag="give"):
    """I do not drive any more."""

    id: Count
    session: Token
    lease: Token


class Act(Message, tag="act"):
    """Move. `tick` is the newest one heard; `action` as in `Robot.act`."""

    id: Count
    session: Token
    lease: Token
    seq: Count
    tick: Count
    valid_ms: Milliseconds
    timeout_ms: Milliseconds
    action: Seven


class BeginEpisode(Message, tag="begin"):
    """An episode begins: where the base is now, y is 0. Only for the driver, and not while it moves."""

    id: Count
    session: Token
    lease: Token


class Look(Message, tag="look"):
    """Show me what you see."""

    id: Count
    session: Token


class Stop(Message, tag="stop"):
    """Stop all motion. Anybody with a key may; session and lease do not matter."""

    id: Count
    session: Token


class Beat(Message, tag="beat"):
    """I am here."""

    session: Token
    count: Count


class State(Message, tag="state"):
    """`RobotStatus`, and who drives."""

    ready: bool
    moving: bool
    homed: bool
    runstop: bool
    problems: Annotated[list[Text], Meta(max_length=32)]
    battery_v: float | None
    time_s: float


class Welcome(Message, tag="welcome"):
    """A session, and who answers."""

    id: Count
    session: Token
    tick: Count
    robot: Text
    embodiment: Token
    simulated: bool
    table_height_m: float | None


class Granted(Message, tag="granted"):
    """You drive."""

    id: Count
    lease: Token
    tick: Count


class Ended(Message, tag="ended"):
    """Done as asked; nothing more to say."""

    id: Count


class Refused(Message, tag="refused"):
    """No, and why."""

    id: Count
    code: Token
    message: Text


class Done(Message, tag="done"):
    """What became of an action; `ActionResult`."""

    id: Count
    outcome: Token
    measured: Seven
    message: Text
    seconds: float


class View(Message, tag="view"):
    """`Observation`; `time_s` is when it was taken, on the clock of `State.time_s`."""

    id: Count
    tick: Count
    time_s: float
    images: dict[str, bytes]
    ee: Seven
    joints: dict[str, float]
    state: State


class Stopped(Message, tag="stopped"):
    """What became of a stop."""

    id: Count
    confirmed: bool
    message: Text


class Pulse(Message, tag="pulse"):
    """The server's side of the heartbeat."""

    count: Count
    tick: Count
    known: bool
    driver: Text
    yours: bool
    state: State


Request = Hello | TakeControl | GiveControl | Act | BeginEpisode | Look | Stop
Reply = Welcome | Granted | Ended | Refused | Done | View | Stopped

_ENCODER = msgspec.msgpack.Encoder()
_DECODERS = {
    "request": (msgspec.msgpack.Decoder(Request), MAX_REQUEST_BYTES),
    "reply": (msgspec.msgpack.Decoder(Reply), 2**31),
    "beat": (msgspec.msgpack.Decoder(Beat), MAX_BEAT_BYTES),
    "pulse": (msgspec.msgpack.Decoder(Pulse), 2**20),
}


def encode(message: Message) -> bytes:
    """Bytes of any message; `decode` is the inverse."""
    return _ENCODER.encode(message)


def decode(kind: str, data: bytes) -> Request | Reply | Beat | Pulse:
    """A message of one kind: "request", "reply", "beat" or "pulse".

    Raises:
        RobotError: Too long, not msgpack, or not such a message; whatever the bytes are.
    """
    decoder, most = _DECODERS[kind]
    if len(data) > most:
        raise RobotError(f"a {kind} of {len(data)} bytes; at most {most}")
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise RobotError(f"not a {kind}: {error}") from error


def state_of(status: RobotStatus) -> State:
    """`RobotStatus` for the wire."""
    problems = [problem[:2000] for problem in status.problems[:32]]
    flags = (bool(status.ready), bool(status.moving), bool(status.homed), bool(status.runstop))
    battery = None if status.battery_v is None else float(status.battery_v)
    return State(*flags, problems, battery, float(status.time_s))


def status_of(state: State) -> RobotStatus:
    """Inverse of `state_of`."""
    flags = (state.ready, state.moving, state.homed, state.runstop)
    return RobotStatus(*flags, tuple(state.problems), state.battery_v, state.time_s)


def done_of(id: int, result: ActionResult) -> Done:
    """`ActionResult` for the wire; numbers that are not finite are told as 0, with a word about it."""
    measured = np.zeros(7)
    given = np.asarray(result.measured, dtype=np.float64).reshape(-1)[:7]
    measured[: len(given)] = given
    message = str(result.message)[:1900]
    if not np.isfinite(measured).all():
        measured, message = np.nan_to_num(measured, nan=0.0, posinf=0.0, neginf=0.0), message + " (measured not finite)"
    return Done(id, result.outcome, measured.tolist(), message, float(result.seconds))


def view_of(id: int, tick: int, observation: Observation, most_bytes: int) -> View:
    """`Observation` for the wire.

    Raises:
        RobotError: The images are more than `most_bytes` together.
    """
    size = sum(len(data) for data in observation.images.values())
    if size > most_bytes:
        raise RobotError(f"the images of one view are {size} bytes; at most {most_bytes}: use smaller images")
    images = {str(name): bytes(data) for name, data in observation.images.items()}
    ee = [float(value) for value in observation.ee]
    joints = {str(name): float(value) for name, value in observation.joints.items()}
    return View(id, tick, float(observation.time_s), images, ee, joints, state_of(observation.status))


def observation_of(view: View) -> Observation:
    """Inverse of `view_of`.

    Raises:
        RobotError: An image is no JPEG, or the position is not numbers.
    """
    for name, data in view.images.items():
        if not data.startswith(b"\xff\xd8"):
            raise RobotError(f"camera {name!r} sent something that is no JPEG")
    ee = np.array(view.ee, dtype=np.float64)
    if not np.isfinite(ee).all():
        raise RobotError("the robot says its hand is nowhere (not finite numbers)")
    return Observation(view.time_s, view.images, ee, view.joints, status_of(view.state))
