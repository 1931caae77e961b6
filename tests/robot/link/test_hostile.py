"""Messages that no honest client sends: nothing moves, the server lives, and everybody else is served."""

import contextlib
import os
import pickle
import random
import threading
import time

import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.robot.link.conftest import wait_until
from vlm2vla.errors import RobotError
from vlm2vla.robot.link import messages as wire
from vlm2vla.robot.scripted import ScriptedRobot

STILL = [0.01, 0, 0, 0, 0, 0, 1.0]


@pytest.fixture
def served(serving):
    return serving(ScriptedRobot(images={}), stop_after_s=60.0, runstop_after_s=90.0, max_age_s=0.5)


@pytest.fixture
def driver(served, raw):
    client = raw(served)
    client.session, client.lease = client.drive()

    def act(seq, *, tick=None, valid_ms=400, action=STILL, session=None, lease=None):
        tick = client.beat(client.session).tick if tick is None else tick
        session = client.session if session is None else session
        lease = client.lease if lease is None else lease
        return client.ask(wire.Act(100 + seq, session, lease, seq, tick, valid_ms, 5000, action))

    client.act = act
    return client


def test_a_duplicate_is_refused(served, driver):
    assert driver.act(1).outcome == "reached"
    again = driver.act(1)
    assert (again.code, "came twice" in again.message) == ("order", True)
    assert len(served.robot.acts) == 1


def test_an_action_out_of_order_is_refused(served, driver):
    assert driver.act(5).outcome == "reached"
    late = driver.act(4)
    assert (late.code, "came after number 5" in late.message) == ("order", True)
    assert driver.act(6).outcome == "reached"
    assert len(served.robot.acts) == 2


def test_a_replayed_recording_of_a_session_moves_nothing(served, driver):
    tick = driver.beat(driver.session).tick
    recorded = wire.encode(wire.Act(9, driver.session, driver.lease, 1, tick, 400, 5000, STILL))
    driver.control.send(recorded)
    assert driver.hear().outcome == "reached"
    for _ in range(20):
        driver.control.send(recorded)
        assert driver.hear().code == "order"
    assert len(served.robot.acts) == 1


def test_a_stale_action_is_refused(served, driver):
    tick = driver.beat(driver.session).tick
    for _ in range(4):
        time.sleep(0.15)
        driver.beat(driver.session)
    late = driver.act(1, tick=tick, valid_ms=600_000)
    assert (late.code, "at most 500" in late.message) == ("stale", True)
    soon = driver.beat(driver.session).tick
    time.sleep(0.1)
    assert driver.act(2, tick=soon, valid_ms=20).code == "stale"
    assert served.robot.acts == []


def test_a_tick_that_was_never_issued_is_refused(served, driver):
    tick = driver.beat(driver.session).tick
    assert driver.act(1, tick=tick + 3_600_000).code == "tick"
    assert driver.act(2, tick=0).code == "stale"
    assert served.robot.acts == []


def test_a_second_action_does_not_wait_behind_the_first(serving, raw):
    served = serving(ScriptedRobot(speed_m_s=0.01, images={}))
    driver = raw(served)
    session, lease = driver.drive()
    for seq in (1, 2, 3):
        tick = driver.beat(session).tick
        driver.control.send(wire.encode(wire.Act(seq, session, lease, seq, tick, 400, 5000, STILL)))
    answers = {answer.id: answer for answer in (driver.hear(), driver.hear(), driver.hear())}
    assert [answers[number].outcome for number in (1, 2, 3)] == ["reached", "refused", "refused"]
    assert "no queue" in answers[3].message
    assert len(served.robot.acts) == 1


@pytest.mark.parametrize("way", ["too late", "stopped", "lease gone"])
def test_what_waits_for_a_slow_camera_is_not_carried_out_afterwards(serving, raw, way):
    class SlowCamera(ScriptedRobot):
        observes_while_moving = False

        def observe(self):
            looking.set()
            assert go_on.wait(60)
            return super().observe()

    looking, go_on = threading.Event(), threading.Event()
    served = serving(SlowCamera(images={}))
    driver, other = raw(served), raw(served, "ben")
    session, lease = driver.drive()
    driver.control.send(wire.encode(wire.Look(5, "")))
    assert looking.wait(60)
    tick = driver.beat(session).tick
    valid_ms = 100 if way == "too late" else 10_000
    driver.control.send(wire.encode(wire.Act(6, session, lease, 1, tick, valid_ms, 5000, STILL)))
    answers = [driver.ask(wire.Hello(8, wire.VERSION, "behind the action"))]  # so that it has arrived
    if way == "stopped":
        assert other.ask(wire.Stop(1, "")).confirmed
    elif way == "lease gone":
        answers.append(driver.ask(wire.GiveControl(7, session, lease)))
    else:
        time.sleep(0.3)
    go_on.set()
    answers += [driver.hear(), driver.hear()]
    done = next(answer for answer in answers if answer.id == 6)
    assert done.outcome == ("stopped" if way == "stopped" else "refused")
    assert served.robot.acts == []


def test_without_the_lease_nothing_moves(served, driver, raw):
    other = raw(served, "ben")
    welcome = other.ask(wire.Hello(1, wire.VERSION, "ben"))
    stolen_session = wire.Act(2, driver.session, driver.lease, 1, welcome.tick, 400, 5000, STILL)
    assert other.ask(stolen_session).code == "session"
    assert other.ask(wire.Act(3, welcome.session, driver.lease, 1, welcome.tick, 400, 5000, STILL)).code == "lease"
    assert other.ask(wire.Act(4, welcome.session, "", 1, welcome.tick, 400, 5000, STILL)).code == "lease"
    assert other.ask(wire.TakeControl(5, welcome.session)).code == "held"
    other.ask(wire.GiveControl(6, welcome.session, driver.lease))
    assert driver.act(1, lease="0" * 32).code == "lease"
    assert driver.act(2, session="nobody").code == "session"
    assert served.robot.acts == []


def test_another_version_of_the_link_is_told_so(served, raw):
    answer = raw(served).ask(wire.Hello(1, wire.VERSION + 1, "new"))
    assert answer.code == "version"
    assert "update" in answer.message


@pytest.mark.parametrize(
    "change",
    [
        {"action": [0.0] * 6},
        {"action": [0.0] * 100},
        {"action": ["0.01"] * 7},
        {"action": "forward"},
        {"seq": -1},
        {"seq": 2**60},
        {"timeout_ms": 10**9},
        {"session": "s" * 1000},
        {"tick": None},
        {"extra": 1},
        {"type": "shutdown"},
    ],
)
def test_an_act_that_is_out_of_bounds_is_thrown_away(served, driver, change):
    tick = driver.beat(driver.session).tick
    good = msgspec.msgpack.decode(wire.encode(wire.Act(9, driver.session, driver.lease, 1, tick, 400, 5000, STILL)))
    driver.control.send(msgspec.msgpack.encode({**good, **change}))
    assert wait_until(lambda: served.server.malformed == 1)
    assert not driver.control.poll(100)
    assert driver.act(2).outcome == "reached"
    assert len(served.robot.acts) == 1


class Bomb:
    def __reduce__(self):
        return os._exit, (1,)


def test_garbage_never_hurts_the_server(served, driver):
    rng = random.Random(0)
    good = wire.encode(wire.Act(9, driver.session, driver.lease, 1, 0, 400, 5000, STILL))
    rubbish = [
        b"",
        b"\x00",
        b"\xc1",
        pickle.dumps(Bomb()),
        b"\x91" * 15_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ]
    rubbish += [rng.randbytes(rng.randrange(200)) for _ in range(1000)]
    rubbish += [good[: rng.randrange(len(good))] + rng.randbytes(rng.randrange(4)) for _ in range(1000)]
    for number, data in enumerate(rubbish):
        driver.control.send(data)
        if number % 50 == 0:
            driver.heart.send(data)
            driver.heart.send_multipart([data, data])
            driver.control.send_multipart([b"", data, data])
        if number % 200 == 0:
            driver.control.send(wire.encode(wire.Look(7, "")))
            while driver.hear().id != 7:
                pass
    while driver.heart.poll(50):
        driver.heart.recv()
    assert served.server.malformed > 1900
    assert served.robot.acts == []
    driver.lease = driver.ask(wire.TakeControl(8, driver.session)).lease
    assert driver.act(2).outcome == "reached"


def test_a_huge_message_costs_its_sender_the_connection_and_nobody_else(served, driver, raw):
    driver.control.send(bytes(200_000))
    driver.heart.send(bytes(50_000_000))
    other = raw(served, "ben")
    assert isinstance(other.ask(wire.Look(3, "")), wire.View)
    assert not driver.control.poll(500)
    assert served.server.malformed == 0, "it was read to its end"
    assert served.robot.acts == []


def test_a_flood_of_requests_does_not_keep_a_stop_waiting(served, driver, raw):
    other = raw(served, "ben")
    other.ask(wire.Hello(1, wire.VERSION, "ben"))
    over = threading.Event()
    sent = [0]

    def flood():
        look = wire.encode(wire.Look(5, ""))
        while not over.is_set():
            with contextlib.suppress(zmq.Again):
                driver.control.send(look, zmq.NOBLOCK)
                sent[0] += 1
            while driver.control.poll(0):
                driver.control.recv()

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        took = []
        for number in range(20):
            start = time.perf_counter()
            assert other.ask(wire.Stop(number, "")).confirmed
            took.append(time.perf_counter() - start)
    finally:
        over.set()
        flooding.join()
    assert sent[0] > 100
    assert sorted(took)[10] < 0.5
    assert max(took) < 5


def test_sessions_without_end_do_not_fill_the_memory_or_evict_the_driver(served, driver, raw):
    other = raw(served, "ben")
    for number in range(300):
        other.ask(wire.Hello(number, wire.VERSION, "ben"))
    assert driver.act(1).outcome == "reached"
    assert len(served.server._gate._sessions) <= 65


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(["request", "reply", "beat", "pulse"]), st.binary(max_size=300))
def test_bytes_are_a_message_or_a_typed_error(kind, data):
    try:
        message = wire.decode(kind, data)
    except RobotError:
        return
    assert isinstance(message, wire.Message)


def test_messages_survive_the_wire():
    state = wire.State(True, False, True, False, ["a problem"], 12.5, 1.0)
    messages = {
        "request": [wire.Hello(1, 1, "anna"), wire.Stop(3, "s"), wire.Act(1, "s", "l", 2, 3, 400, 5000, [0.0] * 7)],
        "reply": [wire.View(1, 2, 4.0, {"above": b"\xff\xd8"}, [0.0] * 7, {"arm": 0.1}, state), wire.Ended(1)],
        "beat": [wire.Beat("s", 1)],
        "pulse": [wire.Pulse(1, 2, True, "anna", False, state)],
    }
    for kind, each in messages.items():
        for message in each:
            assert wire.decode(kind, wire.encode(message)) == message
