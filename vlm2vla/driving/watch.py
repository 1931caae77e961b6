"""Looks after what nobody asks for: an operator who is gone, a robot that does not answer, gauges for watchers."""

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from vlm2vla.driving.words import pose_view
from vlm2vla.errors import RobotError
from vlm2vla.robot import RobotStatus

if TYPE_CHECKING:
    from vlm2vla.driving.robots import Connected
    from vlm2vla.driving.service import DriveService

log = logging.getLogger(__name__)
JSON = dict[str, Any]
PERIOD_S = 0.1
GAUGES_S, IDLE_S = 0.2, 1.0
LOST_S = 1.0  # a status older than this is no status


class Watch:
    """One thread, started with the first operator."""

    def __init__(self, service: "DriveService"):
        self._service = service
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self._status: tuple[RobotStatus | None, float] = (None, 0.0)
        self._pose: JSON | None = None
        self._told: tuple[Any, ...] = ()
        self._told_at = self._cameras_at = 0.0
        self._lost_cameras: dict[str, str] = {}
        self._who: tuple[Any, ...] = ()

    def start(self) -> None:
        """Begin, once."""
        with self._starting:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End."""
        self._closing.set()

    def status_now(self) -> RobotStatus | None:
        """Asked of the robot now; None when it does not answer."""
        connected = self._service.connected
        if connected is None:
            return None
        try:
            self._status = (connected.robot.status(), time.monotonic())
        except Exception as error:
            log.warning("status: %s", error)
            return None
        return self._status[0]

    def look(self) -> None:
        """At a robot that has just been opened."""
        self._status, self._pose = (None, 0.0), None
        self.status_now()
        connected = self._service.connected
        if connected is not None:
            self._pose = self._where(connected)

    def status_view(self) -> JSON:
        """The newest status and its age, for a page."""
        status, at = self._status
        age = time.monotonic() - at
        if status is None:
            return {"ready": False, "moving": False, "homed": False, "runstop": False, "problems": []} | {
                "battery_v": None,
                "lost": True,
                "age_s": None,
            }
        return {
            "ready": status.ready,
            "moving": status.moving,
            "homed": status.homed,
            "runstop": status.runstop,
            "problems": list(status.problems),
            "battery_v": status.battery_v,
            "lost": age > LOST_S,
            "age_s": round(age, 2),
        }

    def pose(self) -> JSON | None:
        """The newest pose."""
        return self._pose

    def _run(self) -> None:
        while not self._closing.wait(PERIOD_S):
            try:
                gone = self._service.lease.lost()
                if gone is not None:
                    self._service.lost(f"nothing was heard of {gone.name}'s page for {self._service.lease.lease_s:g} s")
                who = (self._service.lease.operator, self._service.lease.watchers())
                if who != self._who:
                    self._who = who
                    self._service.changed("lease")
                self._gauges()
            except Exception:
                log.exception("watching")

    def _gauges(self) -> None:
        service, connected = self._service, self._service.connected
        if connected is None:
            return
        before = self._status[0]
        status = self.status_now()
        now = service.events.now()
        self._pose = self._where(connected) or self._pose
        shown = (status and (status.ready, status.moving, status.runstop, status.problems), _rounded(self._pose))
        due = GAUGES_S if shown != self._told else IDLE_S
        if now - self._told_at >= due:
            self._told, self._told_at = shown, now
            service.events.add("telemetry", transient="telemetry", pose=self._pose, status=self.status_view())
        if status is not None and status.runstop:
            service.doubt()  # somebody had a reason to press it
        if before is None or status is None or _facts(before) != _facts(status):
            service.changed("checks")
        cameras = connected.eyes.state()
        lost = {name: state["lost"] for name, state in cameras.items()}
        if lost != self._lost_cameras or now - self._cameras_at >= IDLE_S:
            if lost != self._lost_cameras:
                service.changed("checks")
            self._lost_cameras, self._cameras_at = lost, now
            service.events.add("cameras", transient="cameras", cameras=cameras)

    def _where(self, connected: "Connected") -> JSON | None:
        """Where the robot is, without pictures: seen now, by a run, or by whoever looked last."""
        run = self._service.run
        try:
            seen = connected.glance()
        except RobotError:
            return None
        if (
            run is not None
            and not run.over
            and run.newest is not None
            and (seen is None or run.newest.time_s > seen.time_s)
        ):
            seen = run.newest
        return pose_view(seen) if seen is not None else None


def _facts(status: RobotStatus) -> tuple[Any, ...]:
    return status.ready, status.homed, status.runstop, status.problems


def _rounded(pose: JSON | None) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in pose["ee"]) if pose else ()
