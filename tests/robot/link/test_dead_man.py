"""Somebody or something dies, hangs or is cut off: the robot ends still. Times are measured and printed."""

import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from vlm2vla.robot.link import LinkRobot, RobotLinkConfig, RobotServerConfig
from vlm2vla.robot.scripted import ScriptedRobot

AS_SHIPPED = {
    "stop_after_s": RobotServerConfig.stop_after_s,
    "runstop_after_s": RobotServerConfig.runstop_after_s,
    "max_age_s": RobotServerConfig.max_age_s,
}
TRIES = 3
FAR = np.array([0.05, 0, 0, 0, 0, 0, 1.0])

DRIVER = """
    import sys
    import numpy as np
    from pathlib import Path
    from vlm2vla.robot.link import LinkRobot, RobotLinkConfig
    key, server_key, port, heartbeat_port = sys.argv[1:]
    robot = LinkRobot(RobotLinkConfig(Path(key), Path(server_key), port=int(port), heartbeat_port=int(heartbeat_port)))
    print("driving", flush=True)
    print(robot.act(np.array([0.05, 0, 0, 0, 0, 0, 1.0])), flush=True)
"""

SERVER = """
    import sys
    from pathlib import Path
    from vlm2vla.robot.link import RobotServerConfig, RobotSetup, serve
    from vlm2vla.robot.scripted import ScriptedRobot

    def make_robot():
        robot = ScriptedRobot(speed_m_s=0.02, images={}, on_stop=lambda kind: print(kind, flush=True))
        if len(sys.argv) > 3:
            robot.fail(hang_s=float(sys.argv[3]))
        return RobotSetup(robot, robot.press_runstop)

    key, allow = Path(sys.argv[1]), Path(sys.argv[2])
    serve(
        RobotServerConfig(key, allow, port=0, heartbeat_port=0),
        make_robot,
        on_ready=lambda server: print(server.port, server.heartbeat_port, flush=True),
    )
    print("left in order", flush=True)
"""


@pytest.fixture
def process():
    running = []

    def start(code, *arguments):
        command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for each in running:
        if each.poll() is None:
            each.kill()
        each.wait()
        each.stdout.close()


@pytest.fixture
def driven_from_another_process(serving, keys, process):
    """`start()` serves a robot and lets another process move it; returns both, in mid-motion."""

    def start():
        for _ in range(TRIES):  # a computer that holds the client up for too long has it lose control before it moves
            served = serving(**AS_SHIPPED)
            server = served.server
            client = process(DRIVER, keys.anna.secret, keys.robot.public, server.port, server.heartbeat_port)
            assert client.stdout.readline() == "driving\n"
            while not served.robot.status().moving and client.poll() is None:
                time.sleep(0.001)
            time.sleep(0.1)
            if served.robot.status().moving:
                return SimpleNamespace(**vars(served), client=client)
        pytest.fail(f"the client lost control before it moved, {TRIES} times")

    return start


def times_after(start, events):
    return {kind: at - start for kind, at in reversed(events)}


@pytest.mark.parametrize("way", ["killed", pytest.param("frozen", marks=pytest.mark.slow)])
def test_a_client_that_dies_in_mid_motion_stops_the_robot(driven_from_another_process, until, measured, late, way):
    driven = driven_from_another_process()
    cut = time.monotonic()
    driven.client.send_signal(signal.SIGKILL if way == "killed" else signal.SIGSTOP)
    assert until(lambda: len(driven.events) >= 2)
    took = times_after(cut, driven.events)
    measured(
        f"client {way}: soft stop after {took['stop'] * 1000:.0f} ms, run-stop after {took['runstop'] * 1000:.0f} ms"
    )
    assert took["stop"] <= 0.5 + 2 * late.worst_s
    assert took["runstop"] <= 2.0 + 2 * late.worst_s
    assert not driven.robot.status().moving
    assert driven.robot.observe().ee[0] < 0.5 + 0.02
    if way == "frozen":
        driven.client.send_signal(signal.SIGCONT)
        line = driven.client.stdout.readline()
        assert any(outcome in line for outcome in ("'stopped'", "'fault'", "'runstop'"))


@pytest.mark.slow
def test_a_client_that_dies_between_motions_ends_in_a_run_stop_too(serving, keys, process, until):
    served = serving(ScriptedRobot(images={}), **AS_SHIPPED)
    client = process(
        DRIVER + "    import time; time.sleep(60)",
        keys.anna.secret,
        keys.robot.public,
        served.server.port,
        served.server.heartbeat_port,
    )
    assert client.stdout.readline() == "driving\n"
    assert "reached" in client.stdout.readline()
    client.kill()
    assert until(lambda: served.server.body.status().runstop)


def test_after_a_run_stop_nothing_moves_until_it_is_released_at_the_robot(driven_from_another_process, link, until):
    driven = driven_from_another_process()
    driven.client.kill()
    assert until(lambda: driven.server.body.status().runstop)
    robot = link(driven, "ben")
    assert not robot.in_control
    assert robot.act(FAR).outcome == "refused"
    assert until(lambda: robot.status().runstop)
    assert "released only at the robot" in " ".join(robot.status().problems)
    assert until(lambda: "has not confirmed" not in " ".join(robot.status().problems))
    assert robot.stop()
    with pytest.raises(Exception, match="release it at the robot first"):
        robot.take_control()
    driven.robot.release_runstop()
    assert until(lambda: not robot.status().runstop)
    robot.take_control()
    assert robot.act(np.array([0.001, 0, 0, 0, 0, 0, 1])).outcome == "reached"


def test_the_button_at_the_robot_ends_control_so_that_its_release_moves_nothing(serving, link, until):
    served = serving(ScriptedRobot(images={}))
    robot = link(served)
    assert until(lambda: robot.status().ready)
    served.robot.press_runstop()
    assert until(lambda: robot.status().runstop)
    served.robot.release_runstop()
    assert until(lambda: not robot.status().runstop)
    refused = robot.act(FAR)
    assert refused.outcome == "refused"
    assert "run-stop was pressed" in refused.message
    robot.take_control()
    assert robot.act(FAR).outcome == "reached"


def test_a_robot_that_is_deaf_to_stops_is_run_stopped_at_once(driven_from_another_process, until, late):
    driven = driven_from_another_process()
    driven.robot.fail(deaf=True)
    cut = time.monotonic()
    driven.client.kill()
    assert until(lambda: driven.events)
    took = times_after(cut, driven.events)
    assert took["runstop"] <= 0.6 + 2 * late.worst_s
    assert until(lambda: not driven.robot.status().moving)


def test_a_stop_that_hangs_is_followed_by_a_run_stop(serving, link, late):
    class Mute(ScriptedRobot):
        def stop(self):
            time.sleep(3)
            return True

    served = serving(Mute(speed_m_s=0.02, images={}), stop_limit_s=0.3)
    robot = link(served)
    driving = threading.Thread(target=robot.act, args=(FAR,))
    driving.start()
    while not served.robot.status().moving:
        time.sleep(0.005)
    start = time.monotonic()
    assert not robot.stop()
    assert time.monotonic() - start < 0.6 + 2 * late.worst_s
    driving.join()
    assert served.robot.status().runstop


def test_an_emergency_call_that_fails_or_hangs_is_made_again(serving, link, until):
    calls = []

    def emergency():
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise OSError("bus error")
        if len(calls) == 2:
            time.sleep(60)
        served.robot.press_runstop()

    served = serving(emergency=emergency)
    robot = link(served)
    driving = threading.Thread(target=robot.act, args=(FAR,))
    driving.start()
    while not served.robot.status().moving:
        time.sleep(0.005)
    served.robot.fail(deaf=True)
    assert not robot.stop()
    assert until(lambda: served.robot.status().runstop)
    driving.join()
    assert len(calls) == 3


@pytest.mark.slow
def test_an_action_that_never_ends_is_stopped_and_then_run_stopped(serving, link, until):
    served = serving(ScriptedRobot(images={}), stop_limit_s=0.3)
    served.robot.fail(hang_s=4.0)
    robot = link(served)
    result = robot.act(FAR, timeout_s=0.2)
    assert result.outcome in ("fault", "runstop")
    assert until(lambda: served.server.body.status().runstop)


def test_a_robot_that_stops_telling_how_it_is_is_not_ready(serving, link, until):
    class Silent(ScriptedRobot):
        silent = False

        def status(self):
            if self.silent and threading.current_thread().name == "robot status_loop":
                time.sleep(1.5)
            return super().status()

    served = serving(Silent(images={}))
    robot = link(served)
    assert until(lambda: robot.status().ready)
    served.robot.silent = True
    assert until(lambda: not robot.status().ready)
    assert "has not said how it is" in robot.status().problems[0]


def linked(server, keys, **settings):
    port, heartbeat_port = map(int, server.stdout.readline().split())
    return LinkRobot(
        RobotLinkConfig(keys.anna.secret, keys.robot.public, port=port, heartbeat_port=heartbeat_port, **settings)
    )


def test_a_server_that_is_killed_in_mid_motion_is_a_fault_here(process, keys, until, measured, late):
    server = process(SERVER, keys.robot.secret, keys.allow)
    robot = linked(server, keys)
    results = []
    driving = threading.Thread(target=lambda: results.append(robot.act(FAR)))
    driving.start()
    assert until(lambda: robot.status().moving)
    cut = time.monotonic()
    server.kill()
    driving.join(10)
    took = time.monotonic() - cut
    measured(f"server killed: known here after {took * 1000:.0f} ms")
    assert results[0].outcome == "fault"
    assert "link is lost" in results[0].message
    assert took < 1.0 + 2 * late.worst_s
    assert not robot.status().ready
    assert "link is lost" in robot.status().problems[0].lower()
    assert robot.act(FAR).outcome == "refused"
    robot.close()


def test_a_server_that_is_told_to_leave_stops_the_robot_first(process, keys, until):
    server = process(SERVER, keys.robot.secret, keys.allow)
    robot = linked(server, keys)
    results = []
    driving = threading.Thread(target=lambda: results.append(robot.act(FAR)))
    driving.start()
    assert until(lambda: robot.status().moving)
    server.send_signal(signal.SIGTERM)
    assert server.stdout.readline() == "stop\n"
    assert server.stdout.readline() == "left in order\n"
    assert server.wait(30) == 0
    driving.join(10)
    assert results[0].outcome in ("stopped", "fault")
    robot.close()


@pytest.mark.slow
def test_a_driver_that_does_not_let_go_cannot_keep_the_server_alive(process, keys, until):
    server = process(SERVER, keys.robot.secret, keys.allow, 60)
    robot = linked(server, keys)
    driving = threading.Thread(target=robot.act, args=(FAR,))
    driving.start()
    assert until(lambda: robot.status().moving)
    server.send_signal(signal.SIGTERM)
    assert server.stdout.readline() == "runstop\n"
    assert server.wait(30) == 1
    robot.close()
    driving.join()


def test_a_cable_that_is_pulled_stops_the_robot_and_the_link_comes_back(serving, link, until, measured, late):
    served = serving(**AS_SHIPPED | {"runstop_after_s": 60.0})
    cable = Cable(served.server)
    far = SimpleNamespace(server=SimpleNamespace(port=cable.ports[0], heartbeat_port=cable.ports[1]))
    robot = link(far, lost_after_s=1.2)
    results = []
    driving = threading.Thread(target=lambda: results.append(robot.act(FAR)))
    driving.start()
    assert until(lambda: served.robot.status().moving)
    cut = time.monotonic()
    cable.pulled.set()
    assert until(lambda: served.events)
    took = times_after(cut, served.events)
    measured(f"cable pulled: soft stop after {took['stop'] * 1000:.0f} ms")
    assert took["stop"] <= 0.5 + 2 * late.worst_s
    driving.join(10)
    assert results[0].outcome == "fault"
    cable.pulled.clear()
    assert until(lambda: not robot.status().problems or "Take control" in robot.status().problems[0])
    robot.take_control()
    assert robot.act(np.array([0.001, 0, 0, 0, 0, 0, 1])).outcome == "reached"
    assert len(served.robot.acts) == 2
    robot.close()
    cable.close()


class Cable:
    """Two TCP relays that carry nothing while `pulled` is set: no connection is closed, bytes just do not come."""

    def __init__(self, server):
        self.pulled, self._over = threading.Event(), threading.Event()
        self._sockets, self.ports = [], []
        for port in (server.port, server.heartbeat_port):
            listening = socket.create_server(("127.0.0.1", 0))
            self._sockets.append(listening)
            self.ports.append(listening.getsockname()[1])
            threading.Thread(target=self._accept, args=(listening, port), daemon=True).start()

    def _accept(self, listening, port):
        while True:
            try:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", port))
            except OSError:
                return
            self._sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source, target):
        try:
            while data := source.recv(65536):
                while self.pulled.is_set() and not self._over.is_set():
                    time.sleep(0.005)
                target.sendall(data)
        except OSError:
            return
        finally:
            target.close()

    def close(self):
        self._over.set()
        for each in self._sockets:
            each.close()


def test_stops_are_confirmed_quickly_while_the_robot_moves(serving, link, measured, late):
    served = serving()
    anna, ben = link(served), link(served, "ben", control=False)
    took = []
    over = threading.Event()

    def drive():
        while not over.is_set():
            if not anna.in_control:
                anna.take_control()
            anna.act(FAR * [(-1) ** len(took), 0, 0, 0, 0, 0, 1])

    driving = threading.Thread(target=drive)
    driving.start()
    for _ in range(40):
        while not served.robot.status().moving:
            time.sleep(0.001)
        start = time.perf_counter()
        assert ben.stop()
        took.append((time.perf_counter() - start) * 1000)
    over.set()
    anna.stop()
    driving.join()
    measured(f"stop by another: p50 {np.percentile(took, 50):.1f} ms, p99 {np.percentile(took, 99):.1f} ms")
    assert np.percentile(took, 95) < 200 + 2000 * late.worst_s
