"""Two chains of Dynamixel servos (protocol 2.0) as pseudo-terminals: head pan and tilt, wrist yaw and gripper.

Position control at constant speed. Not faithful: current, PWM (so homing), errors.
"""

import struct
import threading
import time
from pathlib import Path

from tests.robot_hardware.pseudo_terminal import PseudoTerminal

HEADER = b"\xff\xff\xfd\0"
PING, READ, WRITE, SYNC_READ = 1, 2, 3, 0x82
TORQUE, SPEED_LIMIT, GOAL, MOVING, MOVING_STATUS, VELOCITY, POSITION = 64, 112, 116, 122, 123, 128, 132
TICKS_PER_TURN = 4096


def checksum(data: bytes) -> bytes:
    """CRC-16 (polynomial 0x8005) of a packet."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x8005) & 0xFFFF if crc & 0x8000 else (crc << 1) & 0xFFFF
    return struct.pack("<H", crc)


class Servo:
    """The control table of one servo; `block` is a position in ticks that it cannot pass."""

    def __init__(self, number: int, position: int = 2048):
        self.number = number
        self.table = bytearray(1024)
        self._position = float(position)
        self._time = time.monotonic()
        self.block: float | None = None
        self.goals: list[int] = []
        for address, value, size in (
            (0, 1060, 2),  # model
            (6, 45, 1),
            (8, 2, 1),
            (11, 3, 1),
            (GOAL, position, 4),
            (144, 120, 2),  # volts
            (146, 35, 1),  # degrees
            (661, 1, 1),  # Hello Robot's own mark: homed
        ):
            self.set(address, value, size)

    def set(self, address: int, value: int, size: int) -> None:
        self.table[address : address + size] = int(value).to_bytes(size, "little", signed=value < 0)

    def get(self, address: int, size: int = 4) -> int:
        return int.from_bytes(self.table[address : address + size], "little", signed=True)

    @property
    def position(self) -> float:
        self.advance()
        return self._position

    @property
    def torque(self) -> bool:
        return bool(self.table[TORQUE])

    @torque.setter
    def torque(self, on: bool) -> None:
        self.table[TORQUE] = int(on)

    @property
    def homed(self) -> bool:
        return bool(self.table[661])

    @homed.setter
    def homed(self, homed: bool) -> None:
        self.table[661] = int(homed)

    def advance(self) -> None:
        now = time.monotonic()
        dt, self._time = now - self._time, now
        moving = False
        error = 0.0
        if self.torque and self.table[11] in (3, 4, 5):  # position modes
            error = self.get(GOAL) - self._position
            reach = (self.get(SPEED_LIMIT) or 445) * 0.229 * TICKS_PER_TURN / 60 * dt
            new = self._position + max(-reach, min(reach, error))
            if self.block is not None and (self._position - self.block) * (new - self.block) <= 0 and new != self.block:
                new = self._position
            moving = abs(new - self._position) > 0.5
            self._position = new
        self.set(POSITION, round(self._position), 4)
        self.set(VELOCITY, (30 if error > 0 else -30) if moving else 0, 4)
        self.table[MOVING] = int(moving)
        self.table[MOVING_STATUS] = 2 if moving else 1

    def write(self, address: int, values: bytes) -> None:
        self.advance()
        self.table[address : address + len(values)] = values
        if address == TORQUE and values[0]:
            self.set(GOAL, round(self._position), 4)
        if address == GOAL:
            self.goals.append(self.get(GOAL))


class Chain(PseudoTerminal):
    """Servos on one line."""

    def __init__(self, link: Path, servos: list[Servo]):
        self.servos = {servo.number: servo for servo in servos}
        self.lock = threading.RLock()
        super().__init__(link)

    def feed(self) -> None:
        while True:
            start = self.received.find(HEADER)
            if start < 0 or len(self.received) < start + 7:
                return
            length = struct.unpack("<H", self.received[start + 5 : start + 7])[0]
            end = start + 7 + length
            if len(self.received) < end:
                return
            number, instruction = self.received[start + 4], self.received[start + 7]
            parameters = self.received[start + 8 : end - 2]
            self.received = self.received[end:]
            with self.lock:
                self._handle(number, instruction, parameters)

    def _handle(self, number: int, instruction: int, parameters: bytes) -> None:
        if instruction == SYNC_READ:
            address, size = struct.unpack("<HH", parameters[:4])
            for asked in parameters[4:]:
                if asked in self.servos:
                    self.servos[asked].advance()
                    self._reply(asked, bytes(self.servos[asked].table[address : address + size]))
            return
        servo = self.servos.get(number)
        if servo is None:
            return
        servo.advance()
        answer = b""
        if instruction == PING:
            answer = bytes(servo.table[0:2]) + bytes([servo.table[6]])
        elif instruction == READ:
            address, size = struct.unpack("<HH", parameters[:4])
            answer = bytes(servo.table[address : address + size])
        elif instruction == WRITE:
            servo.write(struct.unpack("<H", parameters[:2])[0], parameters[2:])
        self._reply(number, answer)

    def _reply(self, number: int, parameters: bytes) -> None:
        packet = HEADER + bytes([number]) + struct.pack("<H", len(parameters) + 4) + b"\x55\0" + parameters
        self.write(packet + checksum(packet))
