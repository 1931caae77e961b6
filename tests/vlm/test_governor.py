"""Pauses, tries and the cap, with a clock of our own where time matters."""

import threading

import pytest

from vlm2vla.errors import ModelTruncatedError, ModelUnavailableError, SpendingCapError
from vlm2vla.vlm.governor import Governor, Pacing, TryAgain
from vlm2vla.vlm.protocol import Usage


class Clock:
    def __init__(self):
        self.now = 0.0
        self.sleeps = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds


def quota(delay=None, **kwargs):
    return TryAgain(ModelUnavailableError("over quota"), retry_after_s=delay, everybody=True, **kwargs)


def fault(**kwargs):
    return TryAgain(ModelUnavailableError("500"), **kwargs)


def calls(*outcomes):
    """A call that goes through outcomes: exceptions are raised, numbers are the cost of a reply."""
    left = list(outcomes)

    def call():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return "reply", Usage(1, 10, 10, outcome)

    return call


@pytest.fixture
def clock():
    return Clock()


def governor(clock, **kwargs):
    return Governor(Pacing(kwargs.pop("attempts", 4)), clock=clock, sleep=clock.sleep, **kwargs)


def test_the_pause_that_the_server_asks_for_is_kept(clock):
    reply, _ = governor(clock).run(calls(quota(17.0), 0.0), worst_usd=1)
    assert reply == "reply"
    assert 17.0 <= clock.now <= 17.5


def test_a_quota_pause_holds_for_everybody(clock):
    shared = governor(clock, attempts=1)
    with pytest.raises(ModelUnavailableError):
        shared.run(calls(quota(30.0)), worst_usd=1)
    sent_at = []
    shared.run(lambda: (sent_at.append(clock.now), Usage()), worst_usd=0)
    assert sent_at[0] >= 30


def test_without_a_hint_pauses_double_and_are_bounded(clock):
    pacing = Pacing(attempts=8, first_delay_s=1, longest_delay_s=10, jitter=0.25)
    Governor(pacing, clock=clock, sleep=clock.sleep).run(calls(*[fault()] * 7, 0.0), worst_usd=1)
    for sleep, plain in zip(clock.sleeps, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert plain <= sleep <= plain * 1.25


def test_jitter_comes_from_the_seed():
    def sleeps(seed):
        clock = Clock()
        governor(clock, seed=seed).run(calls(fault(), fault(), 0.0), worst_usd=1)
        return clock.sleeps

    assert sleeps(1) == sleeps(1) != sleeps(2)


def test_tries_are_counted(clock):
    with pytest.raises(ModelUnavailableError, match="3 tries failed: 500"):
        governor(clock, attempts=3).run(calls(*[fault()] * 3), worst_usd=1)


def test_a_pause_of_hours_is_an_error_at_once(clock):
    with pytest.raises(ModelUnavailableError, match="asks to wait 7200 s"):
        governor(clock).run(calls(quota(7200.0)), worst_usd=1)
    assert clock.now == 0


def test_unanswered_tries_are_in_the_bill_as_uncertain(clock):
    _, usage = governor(clock).run(calls(fault(billed=None), fault(), 0.25), worst_usd=2.0)
    assert usage == Usage(1, 10, 10, 0.25, 2.0)


def test_the_cap_stops_before_it_is_passed_and_keeps_the_count(clock):
    capped = governor(clock, max_cost=1.0)
    for _ in range(3):
        capped.run(calls(0.3), worst_usd=0.4)
    sent = []
    with pytest.raises(SpendingCapError, match=r"\$0.9000 of the cap of \$1.00"):
        capped.run(lambda: sent.append(1), worst_usd=0.4)
    assert not sent
    assert capped.spent_usd == pytest.approx(0.9)


def test_paid_but_useless_replies_count_against_the_cap(clock):
    capped = governor(clock, max_cost=1.0)
    useless = ModelTruncatedError("cut", details={"usage": vars(Usage(1, 5, 5, 0.7))})
    with pytest.raises(ModelTruncatedError):
        capped.run(calls(useless), worst_usd=0.9)
    with pytest.raises(SpendingCapError):
        capped.run(calls(0.1), worst_usd=0.9)


def test_a_request_waits_when_the_end_of_another_may_free_enough():
    capped = Governor(Pacing(1), max_cost=1.0)
    arrived, leave, order = threading.Event(), threading.Event(), []

    def slow():
        arrived.set()
        leave.wait(5)
        order.append("first")
        return "a", Usage(1, 0, 0, 0.1)

    first = threading.Thread(target=lambda: capped.run(slow, worst_usd=0.8))
    first.start()
    assert arrived.wait(5)
    second = threading.Thread(
        target=lambda: capped.run(lambda: (order.append("second"), Usage(1, 0, 0, 0.1)), worst_usd=0.8)
    )
    second.start()
    second.join(0.1)
    assert second.is_alive()
    leave.set()
    first.join(5)
    second.join(5)
    assert order == ["first", "second"]
    assert capped.spent_usd == pytest.approx(0.2)


def test_stop_ends_pauses_and_lets_nothing_leave():
    shared = Governor(Pacing(3))
    failed = []

    def run():
        try:
            shared.run(calls(quota(300.0), 0.0), worst_usd=0)
        except ModelUnavailableError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    shared.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert failed[0].details["stopped"]
