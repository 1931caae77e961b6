"""The Chat page in a real browser: panes, examples, streams, stops, failures, blind votes, the lens, links, images."""

import io
import json
import re
import time
import urllib.request

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.vlm.tiny_model import make_adapter
from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.config import VqaConfig
from vlm2vla.evaluation.vqa import Contestant, evaluate
from vlm2vla.vlm.chat import Token
from vlm2vla.vlm.local.weights import Weights
from vlm2vla.vlm.registry import ModelRegistry
from vlm2vla.workspace import Workspace

FREE = "!document.querySelector('.vs-halt:not([hidden])') && !document.querySelector('[data-end=writing]')"


@pytest.fixture
def chat(start, tiny_folder, tmp_path):
    """A studio with tiny models beside those that ship: plain, tuned (an adapter on it), whole."""
    workspace = Workspace.open(tmp_path / "chat")
    registry = ModelRegistry(workspace)
    registry.add("plain", str(tiny_folder / "base"))
    registry.add("tuned", str(tiny_folder / "lora"), base="plain")
    registry.add("whole", str(tiny_folder / "full"))
    return start(workspace)


@pytest.fixture
def talk(chat, page):
    """The page, open, with short answers."""
    choose(page, "plain", "tuned")
    page.goto(chat.url + "/chat")
    page.locator(".vs-pane-head select").first.wait_for()
    page.get_by_role("button", name="greedy", exact=True).click()
    page.get_by_label("longest answer").fill("24")
    page.get_by_label("longest answer").press("Tab")
    page.get_by_role("button", name="greedy", exact=True).click()
    return page


def choose(page, *models):
    """What the page remembers of the last visit."""
    page.add_init_script(f"localStorage['vlm2vla.chat.models'] ??= {json.dumps(json.dumps(models))}")


def ask(page, text, *, wait=True):
    page.get_by_role("textbox", name="Question", exact=True).last.fill(text)
    page.keyboard.press("Enter")
    if wait:
        settled(page, text)


def settled(page, text):
    page.locator(".vs-question-text", has_text=text).wait_for()
    page.wait_for_function(FREE)


def answers(page, row=-1):
    return page.locator(".vs-exchange").nth(row).locator(".vs-answer-text").all_inner_texts()


def test_base_and_tuned_answer_an_example_together_and_the_link_restores_it(talk, chat):
    talk.get_by_role("button", name="Counting").click()
    card = talk.locator(".vs-card").first
    question = card.inner_text().strip()
    card.click()
    talk.keyboard.press("Enter")
    settled(talk, question)
    plain, tuned = answers(talk)
    assert plain
    assert tuned
    assert plain != tuned
    expect(talk.locator(".vs-question img")).to_have_js_property("complete", True)
    expect(talk.locator(".vs-reference")).to_be_visible()
    ask(talk, "and how many cubes?")
    assert re.search(r"/chat\?c=[0-9a-f]{12}$", talk.url)
    talk.reload()
    talk.locator(".vs-exchange").nth(1).wait_for()
    assert answers(talk, 0) == [plain, tuned]
    expect(talk.locator(".vs-chats li.on")).to_contain_text(question)
    talk.get_by_role("button", name="greedy", exact=True).click()
    expect(talk.get_by_label("longest answer")).to_have_value("24")


def test_a_question_is_edited_and_what_followed_goes(talk):
    ask(talk, "one cube?")
    ask(talk, "two cubes?")
    talk.locator(".vs-exchange").first.get_by_role("button", name="Edit").click()
    talk.keyboard.type("what colour is it?")
    talk.keyboard.press("Enter")
    settled(talk, "what colour is it?")
    assert talk.locator(".vs-question-text").all_inner_texts() == ["what colour is it?"]


def test_stop_ends_the_answers_and_what_was_said_stays(talk, monkeypatch):
    forward = Weights.forward  # a tiny model has said it all while a busy browser looks for the button
    monkeypatch.setattr(Weights, "forward", lambda *asked, **more: time.sleep(0.02) or forward(*asked, **more))
    talk.get_by_role("button", name="greedy", exact=True).click()
    talk.get_by_label("longest answer").fill("1500")
    talk.get_by_label("longest answer").press("Tab")
    ask(talk, "tell me all", wait=False)
    talk.wait_for_function("document.querySelectorAll('.vs-answer-text')[0]?.textContent.length > 20")
    talk.get_by_role("button", name="Stop").click()
    talk.wait_for_function(FREE)
    expect(talk.locator(".vs-answer-foot").first).to_contain_text("stopped")
    assert len(answers(talk)[0]) >= 20


def test_a_model_that_is_gone_says_so_in_its_pane_and_the_other_answers(talk, chat):
    ask(talk, "one?")
    ModelRegistry(chat.workspace).remove("tuned")
    ask(talk, "two?")
    panes = talk.locator(".vs-exchange").nth(1).locator(".vs-answer")
    expect(panes.nth(1).locator(".vs-problem")).to_contain_text("no model 'tuned'")
    assert panes.nth(0).locator(".vs-answer-text").inner_text()


def test_differences_are_underlined_and_probabilities_told_with_alternatives(talk):
    ask(talk, "what is it?")
    talk.keyboard.press("Escape")
    talk.keyboard.press("d")
    expect(talk.locator(".vs-answer").nth(1).locator("mark").first).to_be_visible()
    talk.keyboard.press("p")
    talk.locator(".vs-answer").first.locator(".vs-token").nth(2).hover()
    box = talk.get_by_role("tooltip")
    expect(box).to_contain_text("%")
    assert box.locator("li").count() == 3
    talk.locator(".vs-tokens").first.focus()
    first = box.inner_text()
    talk.keyboard.press("ArrowRight")
    talk.keyboard.press("ArrowRight")
    talk.keyboard.press("ArrowRight")
    assert box.inner_text() != first


LONG = """async () => {
  const { wordDiff } = await import('/ui/words.js');
  const was = Array.from({ length: 1500 }, (_, n) => `word${n}`), now = [...was];
  now[1400] = "other";
  now.splice(700, 1);
  const parts = wordDiff(was.join(" "), now.join(" "));
  const texts = (wanted) => parts.filter((part) => wanted(part.kind)).map((part) => part.text);
  const told = (kind) => texts((each) => each === kind).map((text) => text.trim());
  const whole = texts((kind) => kind !== "gone").join("") === now.join(" ");
  return { gone: told("gone"), new: told("new"), whole };
}"""


def test_long_answers_are_compared_to_their_end(talk):
    assert talk.evaluate(LONG) == {"gone": ["word700", "word1400"], "new": ["other"], "whole": True}


def test_blind_sides_are_hidden_voted_by_key_and_revealed(talk, chat):
    talk.keyboard.press("Escape")
    talk.keyboard.press("b")
    ask(talk, "which one are you?")
    assert talk.locator(".vs-pane-head").all_inner_texts() == ["Model A\nleft", "Model B\nright"]
    assert "tuned" not in talk.locator(".vs-board").inner_text()
    talk.keyboard.press("2")
    expect(talk.locator(".vs-vote [aria-pressed=true]")).to_contain_text("Right")
    talk.keyboard.press("ArrowUp")
    expect(talk.locator(".vs-vote [aria-pressed=true]")).to_contain_text("Tie")
    talk.keyboard.press("ArrowLeft")
    expect(talk.locator(".vs-vote [aria-pressed=true]")).to_contain_text("Left")
    talk.keyboard.press("r")
    expect(talk.locator(".vs-voted")).to_contain_text("Voted: left")
    votes = [json.loads(line) for line in (chat.workspace.chats / "votes.jsonl").read_text().splitlines()]
    assert [vote["choice"] for vote in votes] == ["right", "tie", "left"]
    shown = talk.locator(".vs-pane-head select").evaluate_all("nodes => nodes.map((node) => node.value)")
    assert shown == votes[-1]["order"]
    expect(talk.locator(".vs-win")).to_contain_text("1 : 0" if shown[0] == "plain" else "0 : 1")


def test_the_lens_scores_answers_and_a_chunk_in_words_and_in_tokens(talk):
    ask(talk, "what now?")
    talk.get_by_role("button", name="Lens", exact=True).click()
    talk.get_by_role("button", name="+ action chunk").click()
    talk.get_by_role("button", name="Score", exact=True).click()
    rows = talk.locator(".vs-lens-table tbody tr")
    rows.first.wait_for()
    kinds = rows.evaluate_all("rows => rows.map((row) => row.className)")
    assert kinds == ["text", "text", "words", "tokens"]
    expect(rows.nth(2).locator("td").first).to_contain_text("Σ log p -")
    assert rows.nth(2).locator("td").first.locator(".vs-token").count() > 20
    assert "view=lens" in talk.url
    talk.reload()
    expect(talk.locator(".vs-lens-texts textarea")).to_have_count(2)


def test_a_new_conversation_leaves_the_lens_and_a_narrow_page_begins_at_its_top(talk):
    talk.keyboard.press("Escape")
    talk.keyboard.press("l")
    expect(talk.get_by_role("heading", name="How probable is this answer?")).to_be_visible()
    talk.get_by_role("button", name="New").click()
    expect(talk.get_by_role("heading", name="Try a question")).to_be_visible()
    talk.set_viewport_size({"width": 390, "height": 700})
    talk.reload()
    talk.locator(".vs-card img").first.wait_for()
    expect(talk.get_by_role("heading", name="Try a question")).to_be_in_viewport()


def test_the_lens_over_annotated_chunks_draws_both_distributions(start, labelled, tiny_folder, page, tmp_path):
    import shutil

    shutil.copytree(labelled, tmp_path / "studio")
    workspace = Workspace.open(tmp_path / "studio")
    ModelRegistry(workspace).add("plain", str(tiny_folder / "base"))
    choose(page, "plain")
    page.goto(start(workspace).url + "/chat?view=lens")
    page.get_by_label("How many chunks").fill("3")
    page.get_by_role("button", name="Score chunks").click()
    expect(page.get_by_role("status").filter(has_text="scored")).to_have_text("3 chunks scored", timeout=60_000)
    assert page.locator(".vs-strip rect.words").count() > 0
    assert page.locator(".vs-strip rect.tokens").count() > 0


def test_images_are_pasted_uploaded_and_refused_with_a_reason(talk, tmp_path):
    file = tmp_path / "red.png"
    Image.new("RGB", (40, 30), (200, 0, 0)).save(file)
    talk.locator(".vs-composer input[type=file]").set_input_files(file)
    expect(talk.locator(".vs-attached img")).to_have_count(1)
    blue = io.BytesIO()
    Image.new("RGB", (40, 30), (0, 0, 200)).save(blue, "PNG")
    talk.evaluate(
        """bytes => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], 'blue.png', {type: 'image/png'}));
        dispatchEvent(new ClipboardEvent('paste', {clipboardData: data})); }""",
        list(blue.getvalue()),
    )
    expect(talk.locator(".vs-attached img")).to_have_count(2)
    (tmp_path / "no.png").write_text("no image")
    talk.locator(".vs-composer input[type=file]").set_input_files(tmp_path / "no.png")
    expect(talk.locator(".vs-notice.bad")).to_contain_text("no image")
    ask(talk, "what are these?")
    expect(talk.locator(".vs-question img")).to_have_count(2)


def test_a_frame_of_an_episode_becomes_the_image_of_a_question(studio, page):
    page.goto(studio.url + "/chat")
    page.get_by_label("Add an image").select_option("episode")
    page.locator(".vs-attach-list button").first.click()
    page.get_by_role("slider", name="Step").fill("3")
    page.get_by_role("button", name="Use this frame").click()
    expect(page.locator(".vs-attached img")).to_have_count(1)


def test_what_a_camera_sees_now_becomes_the_image_of_a_question(drive_studio, page):
    page.goto(drive_studio.url + "/chat")
    page.get_by_label("Add an image").select_option("camera")
    cards = page.locator(".vs-attach-dialog .vs-card")
    cards.first.wait_for(timeout=60_000)
    assert cards.count() >= 2
    cards.first.click()
    expect(page.locator(".vs-attached img")).to_have_count(1, timeout=60_000)


def test_without_any_model_the_page_says_what_to_do_and_takes_one(start, tiny_folder, tmp_path, page):
    workspace = Workspace.open(tmp_path / "bare")
    page.goto(start(workspace).url + "/chat")
    page.locator(".vs-pane-head select, .vs-choose h1:visible").first.wait_for()
    shipped = [model.name for model in ModelRegistry(workspace).list()]
    if not shipped:
        expect(page.get_by_role("heading", name="No model yet")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    form = page.locator(".vs-model-form")
    form.locator("[name=name]").fill("tiny")
    form.locator("[name=where]").fill("/nowhere/at/all")
    page.keyboard.press("Enter")
    expect(page.locator(".vs-models-dialog .vs-problem")).to_contain_text("/nowhere/at/all")
    form.locator("[name=where]").fill(str(tiny_folder / "base"))
    page.keyboard.press("Enter")
    expect(page.locator(".vs-models b", has_text="tiny")).to_be_visible()


def test_an_adapter_that_changes_nothing_is_found_out(talk, chat, tiny_folder, tmp_path):
    still = make_adapter(tiny_folder / "base", tmp_path / "still", scale=0.0)
    ModelRegistry(chat.workspace).add("still", str(still), base="plain")
    talk.keyboard.press("Escape")
    talk.keyboard.press("m")
    row = talk.locator(".vs-models li", has=talk.locator("b", has_text="still"))
    row.get_by_role("button", name="Check").click()
    expect(row.locator(".vs-problem")).to_contain_text("changes nothing", timeout=30_000)


def test_conversations_are_named_found_exported_and_deleted(talk, chat):
    ask(talk, "are there apples?")
    talk.get_by_label("Name of the conversation").fill("Fruit")
    talk.get_by_label("Name of the conversation").press("Enter")
    expect(talk.locator(".vs-chats li.on")).to_contain_text("Fruit")
    talk.get_by_role("button", name="New").click()
    ask(talk, "are there cubes?")
    expect(talk.locator(".vs-chats li")).to_have_count(2)
    talk.get_by_label("Search conversations").fill("apples")
    expect(talk.locator(".vs-chats li")).to_have_count(1)
    talk.locator(".vs-chats .vs-past").click()
    settled(talk, "are there apples?")
    one = re.search(r"c=([0-9a-f]+)", talk.url)[1]
    text = urllib.request.urlopen(f"{chat.url}/chat/api/conversations/{one}/export.md").read().decode()
    assert "# Fruit" in text
    talk.on("dialog", lambda dialog: dialog.accept())
    talk.get_by_role("button", name="Delete Fruit").click()
    expect(talk.locator(".vs-chats li")).to_contain_text("Nothing like that")


class Knows:
    """Answers most questions of the shipped set, by heart."""

    def __init__(self, forgets):
        self.known = {item.question: item.answers[0] for item in load_set("tabletop").items}
        self.forgets = forgets

    def stream(self, messages, sampling, *, stopped=None):
        words = messages[-1].text
        yield Token("nothing" if len(words) % self.forgets == 0 else self.known.get(words, "no"), -0.1)
        yield Token("", ended=True)


def test_retention_is_drawn_beside_the_papers_and_a_lost_answer_opens_in_the_panes(chat, page):
    who = [Contestant("plain", "p", lambda: Knows(11)), Contestant("tuned", "t", lambda: Knows(3))]
    config = VqaConfig(limit=120, repeats=2)
    report = evaluate(load_set("tabletop"), who, chat.workspace.evaluations / "vqa", config)
    kept = report.retention["tuned"]
    choose(page, "whole")
    page.goto(chat.url + "/chat?view=retention")
    expect(page.locator(".vs-retention-table")).to_contain_text(f"{kept.only_base} / {kept.only_tuned}")
    expect(page.locator(".vs-agreement").last).to_have_text("agrees with itself 100 %")
    expect(page.locator(".vs-plot.js-plotly-plot")).to_have_count(2, timeout=60_000)
    expect(page.locator(".vs-plot").nth(1)).to_contain_text("MMStar")
    lost = page.get_by_role("button", name=f"base right → tuned wrong ({kept.only_base})")
    expect(lost).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".vs-flip")).to_have_count(min(48, kept.only_base))
    page.get_by_label("Skill", exact=True).select_option(index=1)
    skill = page.get_by_label("Skill", exact=True).input_value()
    assert set(page.locator(".vs-flip-tags").evaluate_all("n => n.map((e) => e.firstChild.textContent)")) == {skill}
    question = page.locator(".vs-flip b").first.inner_text()
    page.locator(".vs-flip").first.click()
    page.locator(".vs-question-text", has_text=question).wait_for()
    assert page.locator(".vs-pane-head select").evaluate_all("n => n.map((e) => e.value)") == ["plain", "tuned"]
    expect(page.locator(".vs-reference")).to_be_visible()


def test_what_another_harness_measured_stands_below_and_apart(chat, page):
    score = {"value": 0.5, "low": 0.4, "high": 0.6, "questions": 80}
    kept = {"raw": {"value": 0.8, "low": 0.7, "high": 0.9}, "questions": 80, "lost": 9, "won": 1, "p": 0.02}
    run = chat.workspace.evaluations / "harness" / "20261101-000000"
    run.mkdir(parents=True)
    tasks = {"fruit": {"plain": {"exact_match": score}, "tuned": {"exact_match": score}}}
    about = {"harness": "lmms-eval 9", "base": "plain", "made_at": "2199-11-01T00:00:00+00:00"}  # newer than what ships
    found = about | {"tasks": tasks, "retention": {"fruit": {"tuned": {"exact_match": kept}}}, "failed": {}}
    (run / "scores.json").write_text(json.dumps(found))
    page.goto(chat.url + "/chat?view=retention")
    expect(page.locator(".vs-harness summary").first).to_contain_text("lmms-eval 9")
    row = page.locator(".vs-harness details").first.locator("tbody tr", has_text="tuned")
    expect(row).to_contain_text("80 % 70 % to 90 %")
    expect(row).to_contain_text("9 / 1")


def test_without_comparisons_retention_says_how_to_make_one(chat, page):
    page.goto(chat.url + "/chat?view=retention")
    page.locator(".vs-retention :is(.vs-command, .vs-facts):visible").first.wait_for()
    if page.locator(".vs-command").is_visible():
        expect(page.locator(".vs-command")).to_contain_text("vlm2vla evaluate vqa")


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (360, 720)])
def test_nothing_sticks_out_of_the_window(talk, size):
    talk.set_viewport_size({"width": size[0], "height": size[1]})
    ask(talk, "what is this? " + "verylongword" * 12)
    assert talk.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert talk.get_by_role("button", name="Ask", exact=False).first.is_visible()
    places = talk.evaluate(
        "[...document.querySelectorAll('.vs-answer, .vs-question, .vs-composer-row > *')]"
        ".filter((node) => node.offsetParent).map((node) => node.getBoundingClientRect().right)"
    )
    assert max(places) <= size[0] + 1
