"""Runs that are over: replayed, judged by a person, compared, opened in Annotate."""

import re

from playwright.sync_api import expect

from tests.browser.words import say, state


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
