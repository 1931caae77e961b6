"""How fast the link to a robot is, and how soon a robot whose studio dies is still.

Usage: `python -m bench link`. Loopback, CURVE with an allow-list, a kinematic robot, everything on this computer.
"""

import logging
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from vlm2vla.robot.link import LinkRobot, RobotLinkConfig, RobotServer, RobotServerConfig, RobotSetup, make_keys
from vlm2vla.robot.scripted import ScriptedRobot

VIEW_BYTES = 39_000
STEP = np.array([0.0001, 0, 0, 0, 0, 0, 1.0])
FAR = np.array([0.05, 0, 0, 0, 0, 0, 1.0])


def main(rounds: int = 1000, deaths: int = 20) -> None:
    """Measure and print."""
    logging.disable(logging.CRITICAL)  # what dies here dies on purpose
    with tempfile.TemporaryDirectory() as folder:
        served, config = _serve(Path(folder), ScriptedRobot(images={"above": b"\xff\xd8" + bytes(VIEW_BYTES)}))
        robot = LinkRobot(config)
        _times("act (the robot moves at once)", lambda: robot.act(STEP), rounds)
        _times(f"observe ({VIEW_BYTES / 1000:.0f} kB of JPEG)", robot.observe, rounds)
        _times("stop", robot.stop, rounds)
        robot.close()
        served.close()
    _deaths(deaths)


def _serve(folder: Path, body: ScriptedRobot) -> tuple[RobotServer, RobotLinkConfig]:
    robot, studio = make_keys(folder, "robot"), make_keys(folder, "studio")
    allow = folder / "allowed"
    allow.mkdir()
    (allow / "studio.key").write_bytes(studio.public.read_bytes())
    setup = RobotSetup(body, body.press_runstop)
    server = RobotServer(RobotServerConfig(robot.secret, allow, port=0, heartbeat_port=0), setup)
    threading.Thread(target=server.run, daemon=True).start()
    return server, RobotLinkConfig(studio.secret, robot.public, port=server.port, heartbeat_port=server.heartbeat_port)


def _times(name: str, call, rounds: int) -> None:
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        took.append((time.perf_counter() - start) * 1000)
    print(
        f"{name}: p50 {np.percentile(took, 50):.2f} ms, p99 {np.percentile(took, 99):.2f} ms, worst {max(took):.1f} ms"
    )


def _drive(config: RobotLinkConfig) -> None:
    LinkRobot(config).act(FAR)


def _deaths(count: int) -> None:
    """Kill the studio's process in mid-motion, again and again, at any moment of its heartbeat."""
    stops, runstops = [], []
    rng = np.random.default_rng(0)
    for _ in range(count):
        events: dict[str, float] = {}
        body = ScriptedRobot(
            speed_m_s=0.01, images={}, on_stop=lambda kind, events=events: events.setdefault(kind, time.monotonic())
        )
        with tempfile.TemporaryDirectory() as folder:
            server, config = _serve(Path(folder), body)
            studio = multiprocessing.get_context("spawn").Process(target=_drive, args=(config,))
            studio.start()
            while not body.status().moving:
                time.sleep(0.001)
            time.sleep(float(rng.uniform(0.05, 0.25)))
            killed = time.monotonic()
            studio.kill()
            while "runstop" not in events:
                time.sleep(0.001)
            stops.append((events["stop"] - killed) * 1000)
            runstops.append((events["runstop"] - killed) * 1000)
            server.close()
    for name, took in (("soft stop", stops), ("run-stop", runstops)):
        print(
            f"studio killed in mid-motion, {count} times: {name} after p50 {np.percentile(took, 50):.0f} ms, "
            f"p99 {np.percentile(took, 99):.0f} ms, worst {max(took):.0f} ms"
        )


if __name__ == "__main__":
    main()
