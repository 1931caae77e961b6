"""The boards of a Stretch RE1 as pseudo-terminals: four steppers, pimu, wacc; speaking to the real stretch_body.

Firmware protocol p1, transport V0 (board information) and V1. Motion follows a trapezoid profile and is computed when
somebody looks. What this is not: firmware. Effort, safety behaviour and what a moving stepper does with a new goal are
guesses that are enough to show how our driver uses the host API; framing reuses stretch_body's own code.
"""

import struct
import threading
import time
from array import array
from pathlib import Path

from stretch_body.cobbs_framing import CobbsFraming

from tests.robot_hardware.pseudo_terminal import PseudoTerminal

SAFETY, POSITION, POSITION_STEP, VELOCITY_MODES = 0, 5, 8, (4, 6)
SYNC, GUARDED = 4, 8  # bits of the gains' configuration byte
STEP_S = 0.002


class Board(PseudoTerminal):
    """Framing and remote calls; `handle` answers one call."""

    variant, firmware, info_call = b"?", b"?", 7

    def __init__(self, link: Path):
        self.lock = threading.RLock()
        self._call = b""
        self._answer = b""
        self.malformed: list[bytes] = []  # calls that firmware could not have understood
        super().__init__(link)

    def feed(self) -> None:
        while b"\0" in self.received:
            frame, self.received = self.received.split(b"\0", 1)
            if not frame:
                continue
            ok, _, data = CobbsFraming().decode_data(array("B", frame))
            if ok and len(data):
                answer = self._transact(data[0], data[1:].tobytes())
                self.write(CobbsFraming().encode_data(array("B", answer)).tobytes())

    def _transact(self, code: int, payload: bytes) -> bytes:
        if code in (201, 202, 203, 204):  # V1 push: first, last of one, more, last
            self._call = payload if code in (201, 202) else self._call + payload
            return bytes([205]) + (self._run(self._call) if code in (202, 204) else b"")
        if code in (206, 207):  # V1 pull: first, more
            if code == 206:
                self._answer = self._run(payload)
            block, self._answer = self._answer[:58], self._answer[58:]
            return bytes([208 if self._answer else 209]) + block
        if code == 100:  # V0: begin
            self._call = b""
            return bytes([101])
        if code in (102, 104):  # V0: block, last block
            self._call += payload
            if code == 104:
                self._answer = self._run(self._call)
            return bytes([code + 1])
        block, self._answer = self._answer[:32], self._answer[32:]  # V0: fetch
        return bytes([107 if self._answer else 108]) + block

    def _run(self, call: bytes) -> bytes:
        with self.lock:
            if call[0] == self.info_call:
                info = self.variant.ljust(20, b"\0") + self.firmware.ljust(20, b"\0") + b"\0"
                return bytes([call[0] + 1]) + info
            try:
                return bytes([call[0] + 1]) + self.handle(call[0], call[1:])
            except (IndexError, struct.error):
                self.malformed.append(call)
                return bytes([call[0] + 1])

    def handle(self, call: int, payload: bytes) -> bytes:
        raise NotImplementedError

    @staticmethod
    def microseconds() -> int:
        return int(time.monotonic() * 1e6)


class Stepper(Board):
    """One motor, in radians of the motor.

    `block` is a position that it cannot pass (an obstacle); with guarded mode it stops there with a guarded event.
    `slack` is how far it stays short of every goal.
    """

    variant, firmware, info_call = b"Stepper.Irma.V1", b"Stepper.v0.7.2p1", 17

    def __init__(self, link: Path, stops: tuple[float, float] | None = None):
        self._position = self._velocity = 0.0
        self._time = time.monotonic()
        self.mode = SAFETY
        self.goal: float | None = None
        self.speed = self.acceleration = 0.0
        self.limits: tuple[float, float] | None = None
        self.calibrated = False
        self.configuration = 0
        self.waiting: tuple | None = None
        self.guarded_events = 0
        self.in_guarded_event = False
        self.stops = stops
        self.offset = 0.0  # true position minus what the encoder says, before homing
        self.runstop = False
        self.resumes_after_runstop = False
        self.block: float | None = None
        self.slack = 0.0
        self.commands: list[tuple] = []
        self._step_id: int | None = None
        super().__init__(link)

    @property
    def position(self) -> float:
        with self.lock:
            self._advance()
            return self._position

    @property
    def moving(self) -> bool:
        with self.lock:
            self._advance()
            return abs(self._velocity) > 0.01

    def place(self, position: float) -> None:
        with self.lock:
            self._advance()
            self._position = position

    def _advance(self) -> None:
        now = time.monotonic()
        while self._time < now:
            self._step(min(STEP_S, now - self._time))
            self._time += STEP_S
        self._time = now

    def _step(self, dt: float) -> None:
        if self.runstop or self.mode == SAFETY:
            self._velocity = 0.0
            return
        if self.mode in VELOCITY_MODES:
            wanted = self.speed
        elif self.goal is None:
            wanted = 0.0
        else:
            error = self.goal - self._position
            error -= max(-self.slack, min(self.slack, error))
            if abs(error) < 0.01 and abs(self._velocity) < 0.5:  # arrived
                self._position += error
                self._velocity = 0.0
                return
            reach = min(self.speed, (2 * self.acceleration * abs(error)) ** 0.5, abs(error) / dt)
            wanted = reach if error > 0 else -reach
        change = max(self.acceleration, 1.0) * dt
        self._velocity += max(-change, min(change, wanted - self._velocity))
        new = self._position + self._velocity * dt
        if self._hits(new):
            self._velocity = 0.0
            if self.configuration & GUARDED:
                self.guarded_events += 1
                self.in_guarded_event = True
                self.mode, self.goal = SAFETY, None
        else:
            self._position = new

    def _hits(self, new: float) -> bool:
        low, high = self.stops or (-1e9, 1e9)
        blocked = (
            self.block is not None and new != self._position and (self._position - self.block) * (new - self.block) <= 0
        )
        return blocked or not low <= new + self.offset <= high

    def press_runstop(self, pressed: bool) -> None:
        with self.lock:
            self._advance()
            self.runstop = pressed
            if pressed and not self.resumes_after_runstop:
                self.mode, self.goal = SAFETY, None

    def synchronise(self) -> None:
        with self.lock:
            self._advance()
            if self.waiting:
                self._apply(self.waiting)
                self.waiting = None

    def _apply(self, command: tuple) -> None:
        mode, target, speed, acceleration, *_, step_id = command
        self.commands.append(command)
        self.in_guarded_event = False
        self.mode, self.acceleration = mode, abs(acceleration)
        self.speed = speed if mode in VELOCITY_MODES else abs(speed)
        if mode == POSITION:
            self.goal = target
        elif mode == POSITION_STEP:
            if step_id != self._step_id:
                self.goal = self._position + target
            self._step_id = step_id
        else:
            self.goal = None
        if self.goal is not None and self.calibrated and self.limits and self.limits[0] != self.limits[1]:
            self.goal = max(self.limits[0], min(self.limits[1], self.goal))

    def handle(self, call: int, payload: bytes) -> bytes:
        self._advance()
        if call == 3:
            return self._status()
        if call == 1:
            command = struct.unpack("<BfffffffB", payload[:30])
            if self.configuration & SYNC and command[0] not in (0, 1):
                self.waiting = command
            else:
                self._apply(command)
        elif call == 5:
            self.configuration = payload[80]
        elif call == 9:
            self._trigger(*struct.unpack("<If", payload[:8]))
        elif call == 19:
            self.limits = struct.unpack("<ff", payload[:8])
        return b"\1"

    def _trigger(self, trigger: int, value: float) -> None:
        if trigger & 1:  # mark position
            self.offset += self._position - value
            self._position, self.goal = value, None
        if trigger & 16:
            self.calibrated = False
        if trigger & 32:
            self.calibrated = True

    def _status(self) -> bytes:
        moving = abs(self._velocity) > 0.01
        near = self.goal is None or abs(self.goal - self._position) <= 0.02
        flags = (
            self.calibrated * 1
            | self.runstop * 2
            | near * 4
            | moving * (16 | 128)
            | 256
            | self.in_guarded_event * 512
            | self.runstop * 1024
            | bool(self.waiting) * 2048
            | bool(self.configuration & SYNC) * 16384
        )
        now = self.microseconds() & 0xFFFFFFFFFFFFFFFF
        values = (self.mode, 0.0, self._position, self._velocity, 0.0, flags, now, 0.0, self.guarded_events, 0.0, 0)
        return struct.pack("<BfdffIQfIfH", *values)


class Pimu(Board):
    """Power, run-stop and the line that starts synchronised moves."""

    variant, firmware = b"Pimu.Irma.V1", b"Pimu.v0.7.2p1"

    def __init__(self, link: Path, steppers: list[Stepper]):
        self.steppers = steppers
        self.state = 0
        self.volts = 12.6
        self.syncs: list[float] = []
        self.runstop_triggers = 0
        super().__init__(link)

    @property
    def runstop(self) -> bool:
        return bool(self.state & 16)

    def press_runstop(self, pressed: bool = True) -> None:
        """The big button."""
        with self.lock:
            self.state = self.state | 16 if pressed else self.state & ~16
            for stepper in self.steppers:
                stepper.press_runstop(pressed)

    def handle(self, call: int, payload: bytes) -> bytes:
        if call == 3:
            inertia = struct.pack("<17f", 0, 0, 9.8, *[0.0] * 9, 1, 0, 0, 0, 0)
            raw_volts = self.volts * 1024 / 20.0
            power = struct.pack("<7fIQHf", raw_volts, 250.0, 300.0, 0, 0, 0, 0, self.state, self.microseconds(), 0, 0.0)
            return inertia + power
        if call == 9:
            self.syncs.append(time.monotonic())
            for stepper in self.steppers:
                stepper.synchronise()
        if call == 5:
            trigger = struct.unpack("<I", payload[:4])[0]
            if trigger & 256:
                self.runstop_triggers += 1
                self.press_runstop()
            if trigger & 2:
                self.press_runstop(False)
            return payload[:4]
        return b"\0\0"


class Wacc(Board):
    """Accelerometer of the wrist; nothing here looks at it, but a robot without it does not start."""

    variant, firmware = b"Wacc.Irma.V1", b"Wacc.v0.7.2p1"

    def handle(self, call: int, payload: bytes) -> bytes:
        if call == 3:
            return struct.pack("<3fh4BIIQI", 0, 0, 9.8, 0, 0, 0, 0, 0, 0, 0, self.microseconds(), 0)
        return b"\0"
