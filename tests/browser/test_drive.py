"""The Drive page on a real studio with the simulated robot: what a person sees, says, approves and stops."""

import contextlib
import re
import threading
import urllib.request

import pytest
from playwright.sync_api import Page, expect

MOVES = "move forward 5 cm, then move left 5 cm, then move up 5 cm, then move back 5 cm, then move down 4 cm"
WORKERS = 40  # that the studio's pages share
BUSY = 60  # requests that wait


def say(page: Page, text: str, mode: str = "Step") -> None:
    """Drive with typed words."""
    page.get_by_label("Policy", exact=True).select_option("typed")
    page.get_by_role("group", name="Mode").get_by_role("button", name=mode).click()
    page.get_by_label("Instruction", exact=True).fill(text)
    page.get_by_role("button", name="Start Enter").click()


def yes(page: Page) -> None:
    """Approve as soon as the page takes a yes: not in the first moment, when a key may be meant for something else."""
    expect(page.get_by_role("button", name="Approve")).to_be_enabled()
    page.keyboard.press("Enter")


def state(page: Page, name: str) -> None:
    """Wait until the run is in this state."""
    expect(page.locator(".vs-run-state")).to_have_attribute("data-state", name)


def rows(page: Page, kind: str = ""):
    return page.locator(f".vs-cycle[open] .vs-chunk-row{kind}")


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


def test_a_run_is_replayed_judged_by_a_person_compared_and_opened_in_annotate(drive, drive_studio):
    for text in ("move up 2 cm", "move up 2 cm, then move down 2 cm"):
        say(drive, text, "Auto")
        expect(drive.locator(".vs-cycle > summary", has_text=re.compile(r"\d of \d row"))).to_be_visible(timeout=60_000)
        state(drive, "typing")
        drive.get_by_role("button", name="Done", exact=True).click()
        expect(drive.locator(".vs-end-head:visible")).to_be_visible()
    drive.get_by_role("button", name="Replay").click()
    stage = drive.locator(".vs-replay")
    expect(stage.locator(".vs-camera[data-step]").first).to_be_visible()
    stage.get_by_label("Step of the run").fill("0")
    expect(stage.locator(".vs-camera").first).to_have_attribute("data-step", "0")
    expect(stage.locator(".vs-chunk-row.done")).to_have_count(0)
    drive.keyboard.press("p")
    expect(stage.locator(".vs-chunk-row.done")).to_have_count(2)  # it plays to its end

    stage.get_by_role("button", name="Failure").click()
    stage.get_by_label("Notes").fill("it went up and down")
    drive.keyboard.press("Enter")
    expect(stage.locator(".vs-outcome")).to_contain_text("saved")
    drive.reload()
    expect(drive.locator(".vs-replay").get_by_role("button", name="Failure")).to_have_attribute("aria-pressed", "true")
    expect(drive.locator(".vs-replay").get_by_label("Notes")).to_have_value("it went up and down")

    for place in range(2):
        drive.locator(".vs-run-list input").nth(place).check()
    drive.get_by_role("button", name="Compare", exact=True).click()
    expect(drive.locator(".vs-side")).to_have_count(2)
    expect(drive.locator(".vs-facts").first).to_contain_text("instruction")
    drive.keyboard.press("ArrowRight")
    expect(drive.locator(".vs-compare .vs-scrubber")).to_have_attribute("data-step", "1")

    drive.locator(".vs-past").first.click()
    drive.get_by_role("button", name="Open in Annotate").click()
    drive.wait_for_url(re.compile(r"/\?ep=rollouts-"))
    expect(drive.locator(".vs-title h1")).to_contain_text("move up 2 cm")
    expect(drive.locator(".vs-span")).to_have_count(1)
    drive.get_by_label("Motion plan").fill("move up, then move down")
    drive.keyboard.press("Enter")
    drive.wait_for_function("document.querySelector('.vs-saved').dataset.pending === '0'")


def test_a_verdict_keeps_its_order_and_a_failed_save_is_told(drive):
    say(drive, "move up 2 cm", "Auto")
    expect(drive.locator(".vs-cycle > summary", has_text="1 of 1 row")).to_be_visible()
    drive.get_by_role("button", name="Done", exact=True).click()
    card, sent = drive.locator(".vs-end"), []
    drive.route("**/outcome", lambda route: sent.append(route))  # each save waits here

    def next_save():
        while not sent:
            drive.wait_for_timeout(20)
        return sent.pop(0)

    failure = card.get_by_role("button", name="Failure")
    failure.click()
    expect(failure).to_have_attribute("aria-pressed", "true")  # before it is saved
    card.get_by_label("Notes").fill("slipped")
    drive.keyboard.press("Enter")
    expect(card.locator(".vs-outcome")).to_contain_text("saving")
    first = next_save()
    drive.wait_for_timeout(200)
    assert not sent  # one after the other
    first.continue_()
    second = next_save()
    assert {key: second.request.post_data_json[key] for key in ("outcome", "notes")} == {
        "outcome": "failure",
        "notes": "slipped",
    }
    second.fulfill(json={"error": "the disk is full"})
    expect(card.locator(".vs-outcome")).to_contain_text("not saved")
    expect(failure).to_have_attribute("aria-pressed", "true")  # nothing that was said is lost
    drive.unroute("**/outcome")
    card.get_by_role("button", name="Save again").click()
    expect(card.get_by_role("status").last).to_have_text("saved")
    drive.reload()
    expect(failure).to_have_attribute("aria-pressed", "true")
    expect(card.get_by_label("Notes")).to_have_value("slipped")


def test_examples_come_in_four_languages_and_tell_what_the_policy_does(drive):
    drive.get_by_label("Policy", exact=True).select_option("expert")
    examples = drive.locator(".vs-examples button")
    expect(examples).to_have_count(4)
    assert [node.get_attribute("lang") for node in examples.all()] == ["en", "es", "zh", "hi"]
    examples.nth(1).click()
    expect(drive.get_by_label("Instruction", exact=True)).to_have_value(examples.nth(1).text_content())
    expect(drive.locator(".vs-note")).to_contain_text("the simulator's truth")


def test_an_instruction_is_never_markup(drive):
    say(drive, '<img src=x onerror="window.hacked = 1"> 4 cm')
    expect(drive.locator(".vs-now-doing")).to_contain_text("<img")
    expect(drive.locator(".vs-try")).to_be_visible()
    drive.locator(".vs-try summary").click()
    expect(drive.locator(".vs-try .vs-raw")).to_contain_text("onerror")
    assert drive.evaluate("window.hacked") is None


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (1000, 700)])
def test_nothing_is_cut_off_and_stop_is_always_on_screen(drive, size):
    drive.set_viewport_size({"width": size[0], "height": size[1]})
    say(drive, "move left 9 cm")
    expect(drive.get_by_role("button", name="Approve")).to_be_visible()
    assert drive.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight"
    )
    for node in (
        drive.locator(".vs-stop-button"),
        drive.get_by_role("button", name="Approve"),
        drive.get_by_role("button", name="Refuse"),
        drive.get_by_label("Say a correction"),
    ):
        box = node.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]
    frame = drive.locator(".vs-camera").first.bounding_box()
    assert frame["width"] * frame["height"] > 0.12 * size[0] * size[1]


def test_a_phone_shows_stop_and_does_not_scroll_sideways(drive):
    drive.set_viewport_size({"width": 360, "height": 740})
    box = drive.locator(".vs-stop-button").bounding_box()
    assert box["y"] + box["height"] <= 740
    assert drive.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_both_cameras_are_live_and_change_places(drive):
    views = drive.locator(".vs-camera img")
    expect(views).to_have_count(2)
    drive.wait_for_function("[...document.querySelectorAll('.vs-camera img')].every((image) => image.naturalWidth > 0)")
    names = [view.get_attribute("alt") for view in views.all()]
    drive.keyboard.press("v")
    expect(views.first).to_have_attribute("alt", names[1])
    expect(views.last).to_have_attribute("alt", names[0])


def test_a_fresh_studio_offers_robots_and_says_why_one_cannot_be_had(start, workspace, page):
    studio = start(workspace)
    page.goto(studio.url)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Drive").click()
    expect(page.get_by_role("heading", name="Choose a robot")).to_be_visible()
    stretch = page.locator(".vs-robot", has_text="Stretch RE1 of this computer")
    expect(stretch.get_by_role("button", name="Connect")).to_be_disabled()
    expect(stretch).to_contain_text("vlm2vla robot-server")
    link = page.locator(".vs-robot").nth(1)
    for label, text in {"Host": "127.0.0.1", "Key of this computer": "nobody", "Key of the robot": "nothing"}.items():
        link.get_by_label(label, exact=True).fill(text)
    link.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("alert").filter(has_text=re.compile("nobody|key", re.I)).first).to_be_visible()
    page.get_by_role("tab", name="Runs").click()
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()


def test_a_dead_studio_is_not_taken_for_a_stopped_robot(drive_studio, browser):
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(drive_studio.url + "/drive", wait_until="domcontentloaded")
        page.locator(".vs-setup").wait_for()
        page.route("**/drive/**", lambda route: route.abort())
        page.evaluate("document.querySelector('.vs-stop-button').dispatchEvent(new PointerEvent('pointerdown'))")
        expect(page.locator(".vs-stop-phases .failed")).to_contain_text("press the run-stop on the robot")
