import pytest

from vlm2vla.robot.stretch_watch import StatusWatch


@pytest.fixture
def watch():
    return StatusWatch({"lift": 0.2, "arm": 0.2})


def test_a_board_that_stops_counting_is_stale_after_its_limit_and_only_that_one(watch):
    for tick in range(20):
        now = tick * 0.04
        watch.look(now, {"lift": min(tick, 5), "arm": tick}, {})
    assert list(watch.stale(0.76)) == ["lift"]
    assert watch.stale(0.76)["lift"] == pytest.approx(0.56)
    watch.look(0.8, {"lift": 6, "arm": 20}, {})
    assert watch.stale(0.8) == {}


def test_a_board_that_never_answered_is_stale(watch):
    assert set(watch.stale(0.0)) == {"lift", "arm"}


def test_standing_still_counts_from_the_last_real_change(watch):
    for tick in range(11):
        positions = {"lift": ("lift", min(tick, 4) * 0.01), "arm": ("arm", 0.1 + 0.0001 * (tick % 2))}
        watch.look(tick * 0.1, {"lift": tick, "arm": tick}, positions)
    assert watch.still_s("lift") == pytest.approx(0.6)
    assert watch.still_s("arm") == pytest.approx(1.0)
    assert watch.still_s() == pytest.approx(0.6)


def test_a_slow_creep_is_motion(watch):
    for tick in range(50):
        watch.look(tick * 0.02, {"lift": tick}, {"lift": ("lift", tick * 0.0002)})
    assert watch.still_s() < 0.1


def test_a_board_that_does_not_answer_proves_no_standing_still(watch):
    for tick in range(50):
        watch.look(tick * 0.02, {"lift": 0}, {"lift": ("lift", 0.5)})
    assert watch.still_s() == 0


def test_a_command_makes_standing_still_count_from_now(watch):
    for tick in range(21):
        watch.look(tick * 0.1, {"lift": tick, "arm": tick}, {"lift": ("lift", 0.5), "arm": ("arm", 0.1)})
    watch.touch(1.9, "lift")
    assert watch.still_s() == watch.still_s("lift") == pytest.approx(0.1)
    assert watch.still_s("arm") == pytest.approx(2.0)
