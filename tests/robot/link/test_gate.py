import pytest

from vlm2vla.errors import ActionRefusedError, ConfigError
from vlm2vla.robot.link import RobotLinkConfig, RobotServerConfig
from vlm2vla.robot.link.gate import Gate
from vlm2vla.robot.link.messages import Act

ANNA, BEN = b"a" * 40, b"b" * 40


@pytest.fixture
def gate(tmp_path):
    return Gate(
        RobotServerConfig(tmp_path, tmp_path, stop_after_s=0.4, runstop_after_s=1.9), {ANNA: "anna", BEN: "ben"}, 100.0
    )


def test_silence_of_the_driver_asks_for_a_stop_and_then_for_a_run_stop_once_each(gate):
    session = gate.hello(ANNA, "", 100.0)
    gate.take(session, ANNA, 100.0)
    said = {now / 100: gate.overdue(now / 100) for now in range(10_000, 10_400)}
    assert {now: what for now, what in said.items() if what} == {100.4: "stop", 101.9: "runstop"}


def test_nobody_drives_nothing_is_overdue(gate):
    gate.hello(ANNA, "", 100.0)
    assert gate.overdue(1e6) == ""


def test_a_heartbeat_that_comes_back_in_time_spares_the_run_stop_and_not_the_lease(gate):
    session = gate.hello(ANNA, "", 100.0)
    lease = gate.take(session, ANNA, 100.0)
    assert gate.overdue(100.5) == "stop"
    gate.beat(session, ANNA, 101.0)
    assert [gate.overdue(now) for now in (101.5, 102.0, 103.0, 110.0)] == [""] * 4
    with pytest.raises(ActionRefusedError, match="your heartbeat was lost for 0.5 s"):
        gate.admit(Act(1, session, lease, 1, gate.tick(101.0), 400, 1000, [0.0] * 7), ANNA, 101.0)


def test_somebody_elses_heartbeat_does_not_count(gate):
    anna, ben = gate.hello(ANNA, "", 100.0), gate.hello(BEN, "", 100.0)
    gate.take(anna, ANNA, 100.0)
    assert gate.beat(ben, BEN, 100.39)
    assert not gate.beat(anna, BEN, 100.39)
    assert gate.overdue(100.4) == "stop"


def test_nobody_takes_over_while_the_lost_driver_may_still_need_a_run_stop(gate):
    anna, ben = gate.hello(ANNA, "", 100.0), gate.hello(BEN, "", 100.0)
    gate.take(anna, ANNA, 100.0)
    gate.overdue(100.4)
    with pytest.raises(ActionRefusedError, match="just lost"):
        gate.take(ben, BEN, 101.0)
    assert gate.overdue(101.9) == "runstop"
    assert gate.take(ben, BEN, 102.0)


def test_giving_control_back_ends_the_watch(gate):
    session = gate.hello(ANNA, "", 100.0)
    lease = gate.take(session, ANNA, 100.0)
    assert not gate.give(session, ANNA, "another")
    assert gate.give(session, ANNA, lease)
    assert gate.overdue(200.0) == ""


def test_an_admitted_action_may_become_too_late_before_it_begins(gate):
    session = gate.hello(ANNA, "", 100.0)
    lease = gate.take(session, ANNA, 100.0)
    act = Act(1, session, lease, 1, gate.tick(100.0), 300, 1000, [0.0] * 7)
    gate.admit(act, ANNA, 100.1)
    gate.still(act, 100.2)
    with pytest.raises(ActionRefusedError, match="stale: 350 ms"):
        gate.still(act, 100.35)


def test_settings_that_cannot_be_right_are_refused(tmp_path):
    for host in ("0.0.0.0", "*", "::", ""):
        with pytest.raises(ConfigError, match="one network interface"):
            RobotServerConfig(tmp_path, tmp_path, host=host)
    with pytest.raises(ConfigError, match="first the soft stop"):
        RobotServerConfig(tmp_path, tmp_path, stop_after_s=2.0)
    with pytest.raises(ConfigError, match="no port 70000"):
        RobotLinkConfig(tmp_path, tmp_path, port=70000)
    with pytest.raises(ConfigError, match="a port of its own"):
        RobotLinkConfig(tmp_path, tmp_path, port=5757, heartbeat_port=5757)
