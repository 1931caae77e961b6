"""The operator's sign of life: survives a page that is slowed or busy, ends with one that hangs or is closed."""

import time

import pytest

LEASE_S = 4.0
TAKE = "async () => (await import('/ui/drive_live.js')).command('lease', { take: false })"
HANG = "(seconds) => { const end = performance.now() + 1000 * seconds; while (performance.now() < end); }"


@pytest.fixture
def driving(workspace):
    from vlm2vla.driving import DriveService
    from vlm2vla.driving.service import DriveTimes

    service = DriveService(workspace, times=DriveTimes(lease_s=LEASE_S))
    yield service
    service.close()


@pytest.fixture
def operator(start, workspace, driving, page):
    """A page that drives; its own timers are as slow as those of a tab that nobody looks at for long."""
    page.add_init_script(
        "const set = window.setInterval; window.setInterval = (what, ms) => set(what, Math.max(ms, 60_000))"
    )
    page.goto(start(workspace, driving=driving).url + "/drive", wait_until="domcontentloaded")
    page.evaluate(TAKE)
    page.wait_for_function("async () => (await import('/ui/drive_live.js')).live.mine")
    assert driving.lease.operator
    return page


def gone(driving, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if driving.lease.operator is None:
            return True
        time.sleep(0.02)
    return False


def test_slow_timers_of_a_page_do_not_end_the_lease(operator, driving):
    operator.wait_for_timeout(3 * LEASE_S * 1000)
    assert driving.lease.operator


def test_a_page_that_is_busy_for_longer_than_the_lease_keeps_it(operator, driving):
    operator.evaluate(HANG, LEASE_S + 1.5)
    assert driving.lease.operator


def test_a_page_that_hangs_loses_the_lease(operator, driving):
    operator.evaluate(f"setTimeout(() => ({HANG})(25), 0)")
    assert not gone(driving, LEASE_S)
    assert gone(driving, 20)


def test_a_closed_page_loses_the_lease_at_once(operator, driving):
    driving.lease.lease_s = 600.0  # so that it does not just run out
    operator.close()
    assert gone(driving, 30)
