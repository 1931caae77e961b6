"""The Drive page on a real studio with the simulated robot: what a person sees, says, approves and stops."""

import contextlib
import re
import threading
import urllib.request

import pytest
from playwright.sync_api import expect

from tests.browser.words import rows, say, state, yes

MOVES = "move forward 5 cm, then move left 5 cm, then move up 5 cm, then move back 5 cm, then move down 4 cm"
WORKERS = 40  # that the studio's pages share
BUSY = 60  # requests that wait


@pytest.fixture
def busy_workers(drive_studio, monkeypatch):
    """Every worker that the studio's other pages share waits for something."""
    from vlm2vla.review import Review

    free, taken = threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(Review, "frame", lambda *_: taken.release() or free.wait(120))
    address = f"{drive_studio.url}/media/any/any/0.jpg"

    def wait() -> None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=120).read()

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(BUSY)]
    for thread in threads:
        thread.start()
    for _ in range(WORKERS):
        assert taken.acquire(timeout=60)
    with pytest.raises(TimeoutError):  # a page that needs a worker does not come
        urllib.request.urlopen(drive_studio.url + "/", timeout=3).read()
    yield
    free.set()
    for thread in threads:
        thread.join(20)


def test_typed_words_are_shown_approved_and_carried_out(drive):
    arm = drive.locator(".vs-gauge", has_text="arm").locator("output")
    expect(arm).to_contain_text("cm")
    before, picture = arm.text_content(), drive.locator(".vs-camera").first.screenshot()
    say(drive, "move forward 4 cm, then close the gripper")
    expect(drive.locator(".vs-ask-text")).to_contain_text("Carry out 2 rows?")
    expect(drive.locator(".vs-plan-text")).to_contain_text("move forward, then close the gripper")
    expect(rows(drive).first).to_contain_text("forward 4.0 cm")
    assert rows(drive, ".done").count() == 0
    assert arm.text_content() == before  # nothing moves before the yes

    yes(drive)
    did = drive.locator(".vs-cycle").first.locator(".vs-chunk-row")  # it folds as soon as the next cycle begins
    expect(did.first).to_contain_text(re.compile(r"did forward (3\.9|4\.0|4\.1) cm"))
    state(drive, "typing")
    expect(drive.locator(".vs-cycle > summary", has_text="2 of 2 rows")).to_be_visible()
    assert abs(float(arm.text_content().split()[0]) - float(before.split()[0]) - 4) < 0.3
    assert drive.locator(".vs-camera").first.screenshot() != picture
    expect(drive.locator(".vs-gauge.grip output")).to_have_text("● closed")


def test_words_that_are_no_motion_move_nothing_and_say_where(drive):
    say(drive, "dance a little")
    expect(drive.locator(".vs-try")).to_contain_text("Try 1 did not parse")
    state(drive, "typing")
    drive.get_by_label("Next motion").fill("[[1.0, 0.0")
    expect(drive.locator(".vs-preview").first).to_contain_text("character")  # told while it is typed
    drive.keyboard.press("Enter")
    expect(drive.locator(".vs-try")).to_have_count(2)
    assert rows(drive).count() == 0
    drive.get_by_role("button", name="Done", exact=True).click()
    expect(drive.locator(".vs-end-head:visible")).to_contain_text("nothing more was typed")


def test_the_safety_rules_speak_before_and_after(drive):
    say(drive, "move left 9 cm")
    expect(drive.locator(".vs-flags")).to_contain_text("more than 5 cm")
    expect(rows(drive).first.locator(".vs-safety.clamped")).to_contain_text("Safety shortened it (step)")
    yes(drive)
    did = drive.locator(".vs-cycle").first  # folds as soon as the next one begins
    expect(did.locator(".vs-chunk-row")).to_contain_text(re.compile(r"did left (4\.9|5\.0|5\.1) cm"))
    expect(did.locator(".vs-sums .vs-apart")).to_contain_text("4.0 cm apart")


@pytest.mark.parametrize("way", ["mouse", "Space", "Escape", "Escape while writing"])
def test_stop_is_sent_and_confirmed_apart(drive, way):
    say(drive, f"{MOVES}, then {MOVES}", "Auto")
    expect(rows(drive, ".now")).to_be_visible(timeout=60_000)
    if way == "mouse":
        drive.keyboard.press("?")  # an open list of keys does not cover it
        drive.locator(".vs-stop-button").click()
    elif way == "Escape while writing":
        drive.get_by_label("Say a correction").fill("to the")
        drive.keyboard.press("Space")  # a space, no STOP
        expect(drive.get_by_label("Say a correction")).to_have_value("to the ")
        assert drive.locator(".vs-stop-phases li").count() == 0
        drive.keyboard.press("Escape")
    else:
        drive.keyboard.press(way)
    expect(drive.locator(".vs-stop-phases .sent")).to_contain_text("sent ✓")
    expect(drive.locator(".vs-stop-phases .confirmed")).to_contain_text("confirmed by the robot ✓")
    expect(drive.locator(".vs-end-head:visible")).to_contain_text("Stopped")
    expect(drive.locator(".vs-chunk-row.now")).to_have_count(0)


def test_page_and_stop_work_while_every_worker_is_busy(drive, drive_studio, busy_workers, new_page):
    fresh = new_page()
    fresh.goto(drive_studio.url + "/drive", wait_until="domcontentloaded")
    expect(fresh.locator(".vs-setup")).to_be_visible()
    took = []
    for _ in range(5):
        say(drive, MOVES, "Auto")
        expect(rows(drive, ".now")).to_be_visible()
        took += [drive.evaluate(STOP_ONCE) for _ in range(4)]  # each is confirmed, or this waits for ever
        expect(drive.locator(".vs-end-head:visible")).to_contain_text("Stopped")
    # How long a robot takes to be still is judged with the routes; here a browser that is drawing takes its share.
    print(f"STOP to confirmed in the page, workers busy: median {sorted(took)[10]:.0f}, worst {max(took):.0f} ms")  # noqa: T201
    assert max(took) < 5000


STOP_ONCE = """async () => {
  const phases = document.querySelector('.vs-stop-phases'), began = performance.now();
  phases.replaceChildren();
  document.querySelector('.vs-stop-button').dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }));
  while (!phases.querySelector('.confirmed')) await new Promise((resolve) => setTimeout(resolve, 1));
  return performance.now() - began;
}"""


def test_supervised_mode_counts_down_and_can_be_vetoed(drive):
    say(drive, "move up 2 cm", "Supervised")
    expect(drive.locator(".vs-ask-text")).to_contain_text("unless you veto")
    expect(drive.locator('.vs-countdown[data-kind="veto"]')).to_be_visible()
    drive.keyboard.press("r")
    state(drive, "typing")
    expect(drive.locator(".vs-cycle > summary").first).to_contain_text("not carried out")
    drive.get_by_label("Next motion").fill("move up 2 cm")
    drive.keyboard.press("Enter")
    expect(drive.locator(".vs-ask-text")).to_contain_text("Nothing moves before your yes")  # a veto makes careful
    yes(drive)
    expect(drive.locator(".vs-cycle > summary", has_text="1 of 1 row")).to_have_count(1)
    drive.get_by_label("Next motion").fill("move down 2 cm")
    drive.keyboard.press("Enter")
    expect(drive.locator(".vs-cycle > summary", has_text="1 of 1 row")).to_have_count(2)  # nobody vetoed


def test_a_countdown_begins_when_the_page_has_drawn_its_question(drive):
    question = "fetch('/drive/state').then((answer) => answer.json()).then((state) => state.run.question)"
    drive.evaluate("() => { window.held = []; window.draw = requestAnimationFrame; }")
    drive.evaluate("() => { window.requestAnimationFrame = (call) => held.push(call); }")  # as in the background
    say(drive, "move up 2 cm", "Supervised")
    state(drive, "asking")
    drive.wait_for_timeout(700)
    asked = drive.evaluate(question)
    assert (asked["counts"], asked["veto"]) == (True, None)
    drive.evaluate("() => { window.requestAnimationFrame = draw; for (const call of held) call(0); }")
    expect(drive.locator('.vs-countdown[data-kind="veto"]')).to_be_visible()
    assert drive.evaluate(question)["veto"] > asked["asked"] + 12.7  # not from when it was asked
    expect(drive.locator(".vs-cycle > summary", has_text="1 of 1 row")).to_have_count(1)


def test_the_trace_shows_retries_clamps_refusals_and_verdicts(drive):
    drive.get_by_label("Policy", exact=True).select_option("scripted")
    drive.get_by_role("group", name="Mode").get_by_role("button", name="Auto").click()
    drive.get_by_label("Instruction", exact=True).fill("lift the cube and put it down")
    drive.get_by_role("button", name="Start Enter").click()
    expect(drive.locator(".vs-end-head:visible")).to_contain_text("Finished")
    groups = drive.locator(".vs-subtask")
    expect(groups).to_have_count(2)
    expect(groups.first).to_have_class(re.compile("done"))
    cycles = drive.locator(".vs-cycle")
    for cycle in cycles.all():
        if cycle.get_attribute("open") is None:
            cycle.locator("> summary").click()
    first, second, third = cycles.nth(0), cycles.nth(1), cycles.nth(2)
    expect(first.locator(".vs-try")).to_contain_text("Try 1 did not parse")
    expect(first.locator(".vs-judgement")).to_contain_text("Not done yet")
    expect(first.locator(".vs-before-after img")).to_have_count(2)
    expect(second.locator(".vs-safety.clamped")).to_contain_text("Safety shortened it (step)")
    expect(second.locator(".vs-judgement")).to_contain_text("Subtask done")
    expect(third.locator(".vs-safety").first).to_be_visible()
    expect(first.locator(".vs-timings")).to_contain_text("motion")
    drive.wait_for_function(
        "[...document.querySelectorAll('.vs-before-after img')].every((image) => image.naturalWidth > 0)"
    )


def test_a_plan_is_changed_in_words(drive):
    drive.get_by_label("Policy", exact=True).select_option("scripted")
    drive.get_by_role("group", name="Mode").get_by_role("button", name="Step").click()
    drive.get_by_label("Instruction", exact=True).fill("lift the cube")
    drive.get_by_role("button", name="Start Enter").click()
    state(drive, "asking")
    drive.keyboard.press("e")
    drive.get_by_role("button", name="Plan", exact=True).click()
    drive.get_by_label("Changed text").fill("move up a little")
    drive.keyboard.press("Enter")
    expect(drive.locator(".vs-edit-note")).to_contain_text("reviewer changed the plan")
    expect(drive.locator(".vs-cycle[open] .vs-plan-text")).to_have_text("move up a little")


def test_a_chunk_is_changed_in_flight_and_judged_again(drive):
    say(drive, "move up 1 cm")
    expect(drive.locator(".vs-ask-text")).to_contain_text("Carry out 1 row?")
    drive.keyboard.press("e")
    box = drive.get_by_label("Changed text")
    expect(box).to_have_value(re.compile("raise 1 cm"))
    expect(
        drive.get_by_role("button", name="Plan", exact=True)
    ).to_be_disabled()  # typed words have no plan to steer by
    box.fill("move up 8 cm")
    expect(drive.locator(".vs-editor .vs-preview")).to_contain_text("more than 5 cm")
    box.fill("move up 3 cm")
    drive.keyboard.press("Enter")
    expect(drive.locator(".vs-ask-text")).to_contain_text("Carry out the changed action?")
    expect(drive.locator(".vs-edit-note").first).to_contain_text("reviewer changed the chunk")
    yes(drive)  # a key meant for the old question must not answer the new one
    expect(drive.locator(".vs-cycle > summary", has_text="1 of 1 row")).to_be_visible(timeout=60_000)
    expect(drive.locator(".vs-sums").first).to_contain_text("asked up 3.0 cm")


def test_one_drives_others_watch_and_take_over_only_on_purpose(drive, drive_studio, new_page):
    drive.get_by_label("Your name").fill("anna")
    drive.get_by_label("Your name").press("Tab")
    say(drive, MOVES)
    expect(drive.locator(".vs-bar-lease")).to_contain_text("you drive")
    other = new_page()
    other.goto(drive_studio.url + "/drive", wait_until="domcontentloaded")
    expect(other.locator(".vs-bar-lease")).to_contain_text("anna drives")
    expect(other.locator(".vs-ask-text")).to_contain_text("anna drives; you watch")
    expect(other.locator(".vs-plan-text")).to_contain_text("move forward")  # what happened before the page was opened
    other.keyboard.press("Enter")
    expect(other.get_by_role("button", name="Approve")).to_be_hidden()
    expect(drive.locator(".vs-ask-text")).to_contain_text("Carry out 5 rows?")

    other.get_by_role("button", name="Take over").click()
    other.get_by_role("dialog").get_by_role("button", name="Take over").click()
    expect(other.locator(".vs-bar-lease")).to_contain_text("you drive")
    expect(drive.locator(".vs-bar-lease")).to_contain_text("reviewer drives")
    expect(drive.locator(".vs-end-head:visible")).to_contain_text("Stopped")


def test_a_closed_page_leaves_the_robot_still(drive, drive_studio, new_page):
    other = new_page()
    other.goto(drive_studio.url + "/drive", wait_until="domcontentloaded")
    say(other, MOVES, "Auto")
    expect(drive.locator(".vs-chunk-row.now")).to_be_visible(timeout=60_000)
    other.close()
    expect(drive.locator(".vs-end-head:visible")).to_contain_text("Stopped")
    expect(drive.locator(".vs-bar-lease")).to_contain_text("nobody drives")


def test_a_pressed_run_stop_has_to_be_released_before_a_run(drive):
    drive.get_by_role("button", name="Press run-stop").click()
    expect(drive.locator(".vs-bar-robot")).to_contain_text("run-stop pressed")
    expect(drive.locator(".vs-checks .bad.next")).to_contain_text("Run-stop")
    expect(drive.get_by_role("button", name="Start Enter")).to_be_disabled()
    drive.get_by_role("button", name="Release it (simulated)").click()
    expect(drive.get_by_role("button", name="Start Enter")).to_be_enabled()
