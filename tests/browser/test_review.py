"""What a reviewer does, in a real browser: watch, correct, decide, and find it again."""

import re

from playwright.sync_api import Page, expect

SAVED = "document.querySelector('.vs-saved').dataset.pending === '0'"


def drag_first_edge(page: Page, share: float) -> None:
    """Drag the boundary after the first subtask to this share of the timeline."""
    edge, tracks = page.locator(".vs-edge").first.bounding_box(), page.locator(".vs-tracks").bounding_box()
    page.mouse.move(edge["x"] + edge["width"] / 2, edge["y"] + 10)
    page.mouse.down()
    page.mouse.move(tracks["x"] + tracks["width"] * share, edge["y"] + 12, steps=4)
    page.mouse.up()
    page.wait_for_function(SAVED)


def spans(page: Page) -> list[str]:
    return [title for node in page.locator(".vs-span").all() if (title := node.get_attribute("title"))]


def plan(page: Page):
    return page.get_by_label("Motion plan")


def test_drag_edit_accept_reload_and_see_it(open_episode, studio):
    page = open_episode()
    drag_first_edge(page, 0.25)
    assert re.search(r"steps 1 to (10|11)\b", spans(page)[0])
    expect(page.locator(".vs-level.plan.isstale")).to_be_visible()

    page.keyboard.press("e")
    expect(plan(page)).to_be_focused()
    page.keyboard.type("move forward, then close the gripper")
    page.keyboard.press("Enter")
    page.wait_for_function(SAVED)
    page.keyboard.press("a")
    expect(page.locator(".vs-inspect-head .vs-status")).to_have_text("accepted")
    page.wait_for_function(SAVED)
    before, link = spans(page), page.url

    page.goto("about:blank")
    page.goto(link)
    expect(plan(page)).to_have_value("move forward, then close the gripper")
    expect(page.locator(".vs-inspect-head .vs-status")).to_have_text("accepted")
    assert spans(page) == before
    page.locator(".vs-history summary").click()
    expect(page.locator(".vs-revisions")).to_contain_text("reviewer")
    expect(page.locator(".vs-revisions ins").first).to_be_visible()


def test_a_link_restores_episode_step_and_subtask(open_episode, new_page):
    page = open_episode()
    page.locator(".vs-span").nth(1).click()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    title = page.locator(".vs-span.on").get_attribute("title")
    step = str(int(page.locator(".vs-transport output").text_content().split()[0]) - 1)
    assert int(step) > 2
    expect(page.locator(".vs-frame")).to_have_attribute("data-step", step)
    page.wait_for_function("step => new URL(location).searchParams.get('step') === step", arg=step)

    other = new_page()
    other.goto(page.url)
    expect(other.locator(".vs-frame")).to_have_attribute("data-step", step)
    expect(other.locator(".vs-span.on")).to_have_attribute("title", title)


def test_a_stale_save_is_refused_with_the_difference_and_the_draft_survives(open_episode, new_page):
    mine = open_episode()
    theirs = new_page()
    theirs.goto(mine.url)
    theirs.get_by_label("Your name").fill("anna")
    expect(plan(theirs)).not_to_have_value("")
    plan(theirs).fill("move forward and far down")
    theirs.keyboard.press("Enter")
    theirs.wait_for_function(SAVED)

    plan(mine).fill("move to the left")
    mine.keyboard.press("Enter")
    dialog = mine.get_by_role("dialog", name="Somebody saved in between")
    expect(dialog).to_contain_text("anna saved in between")
    expect(dialog.locator("ins")).to_contain_text("far down")
    expect(dialog).to_contain_text("move to the left")
    mine.keyboard.press("Escape")
    expect(dialog).to_be_visible()  # a decision is needed; the draft is not dropped by accident

    dialog.get_by_role("button", name="Apply mine on top").click()
    mine.wait_for_function(SAVED)
    expect(plan(mine)).to_have_value("move to the left")
    mine.reload()
    expect(plan(mine)).to_have_value("move to the left")


def test_discarding_a_refused_draft_shows_what_the_other_saved(open_episode, new_page):
    mine = open_episode()
    theirs = new_page()
    theirs.goto(mine.url)
    expect(plan(theirs)).not_to_have_value("")
    plan(theirs).fill("move forward and far down")
    theirs.keyboard.press("Enter")
    theirs.wait_for_function(SAVED)
    mine.keyboard.press("f")
    mine.get_by_role("button", name="Unsure").click()
    mine.get_by_role("button", name="Discard mine").click()
    expect(plan(mine)).to_have_value("move forward and far down")
    expect(mine.locator(".vs-inspect-head .vs-status")).to_have_text("pending")


def test_enter_takes_what_the_numbers_say_and_z_takes_it_back(open_episode):
    page = open_episode()
    before = spans(page)
    drag_first_edge(page, 0.4)
    stale = page.locator(".vs-level.isstale")
    expect(stale).to_have_count(2)
    offered = page.locator(".vs-level.plan .vs-stale p").text_content()
    page.keyboard.press("Enter")
    expect(stale).to_have_count(0)
    expect(plan(page)).to_have_value(offered)
    page.keyboard.press("z")
    expect(stale).to_have_count(2)
    page.keyboard.press("z")
    expect(stale).to_have_count(0)
    assert spans(page) == before
    page.keyboard.press("Shift+Z")
    expect(stale).to_have_count(2)


def test_split_merge_and_draw(open_episode):
    page = open_episode()
    count = page.locator(".vs-span").count()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    expect(page.locator(".vs-span")).to_have_count(count + 1)
    page.keyboard.press("m")
    expect(page.locator(".vs-span")).to_have_count(count)
    page.wait_for_function(SAVED)

    page.keyboard.press("i")
    lane = page.locator(".vs-lane.spans").bounding_box()
    page.mouse.move(lane["x"] + lane["width"] * 0.06, lane["y"] + 12)
    page.mouse.down()
    page.mouse.move(lane["x"] + lane["width"] * 0.14, lane["y"] + 12, steps=3)
    page.mouse.up()
    expect(page.get_by_label("Subtask", exact=True)).to_be_focused()
    page.keyboard.type("Wait for the robot")
    page.keyboard.press("Enter")
    expect(page.locator(".vs-span.on")).to_contain_text("Wait for the robot")


def test_rows_of_the_chunk_are_edited_one_by_one(open_episode):
    page = open_episode()
    row = page.get_by_label("Row 1", exact=True)
    row.fill("[9.0, 0.0, 0.0, 1]")
    row.press("Enter")
    expect(page.locator(".vs-row .vs-says").first).to_contain_text("forward 9.0 cm")
    expect(page.locator(".vs-level.chunk .vs-no")).to_be_visible()  # it no longer adds up to the recording
    row.fill("[9.0, sideways")
    row.press("Enter")
    expect(page.locator(".vs-level.chunk [role=alert]")).to_contain_text("character")
    page.locator(".vs-level.chunk .vs-machine").get_by_role("button", name="Revert").click()
    expect(page.locator(".vs-level.chunk .vs-yes")).to_be_visible()


def test_reject_needs_a_reason_that_others_see(open_episode):
    page = open_episode()
    page.keyboard.press("r")
    page.keyboard.type("it never touches the carrot")  # these letters are no shortcuts while typing
    page.keyboard.press("Enter")
    expect(page.locator(".vs-inspect-head .vs-status")).to_have_text("rejected")
    page.wait_for_function(SAVED)
    page.reload()
    expect(page.locator(".vs-inspect-head .vs-status")).to_have_attribute("title", "it never touches the carrot")


def test_accepting_goes_on_to_the_next_subtask_and_then_the_next_episode(open_episode):
    page = open_episode()
    count = page.locator(".vs-span").count()
    first = page.locator(".vs-title h1").text_content()
    for index in range(count):
        expect(page.locator(".vs-inspect-head b")).to_have_text(f"Subtask {index + 1} of {count}")
        page.keyboard.press("d")
    expect(page.locator(".vs-title h1")).not_to_have_text(first)
    expect(page.locator(".vs-item", has_text=first).locator(".vs-sign")).to_have_text("✓")


def test_ratings_are_kept_for_the_reviewer(open_episode):
    page = open_episode()
    page.get_by_title("Rate the plan 4 of 5").click()
    expect(page.locator(".vs-level.plan .vs-stars .on")).to_have_count(4)
    page.reload()
    expect(page.locator(".vs-level.plan .vs-stars .on")).to_have_count(4)


def test_annotating_a_subtask_again_from_the_numbers(open_episode):
    page = open_episode()
    plan(page).fill("dance")
    page.keyboard.press("Enter")
    page.wait_for_function(SAVED)
    page.keyboard.press("g")
    page.get_by_role("button", name="Annotate Enter").click()
    page.wait_for_function(SAVED)
    expect(plan(page)).not_to_have_value("dance")
