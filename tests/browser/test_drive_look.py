"""How the Drive page looks: sizes, cameras, examples, nothing open yet, a studio that is gone."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.words import say


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
