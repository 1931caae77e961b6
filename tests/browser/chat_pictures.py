"""Pictures of the Chat page for the README, with the models that ship: answers, blind vote, lens, retention."""

import sys
from pathlib import Path

from playwright.sync_api import Page

from ui.chat import EVIDENCE
from vlm2vla import pipeline
from vlm2vla.evaluation.config import VqaConfig

SIZE = {"width": 1280, "height": 800}
WAIT_MS = 1_200_000  # loading and answering take their time on a busy computer
QUESTIONS, CHUNKS = 150, 40
FREE = "!document.querySelector('.vs-halt:not([hidden])') && !document.querySelector('[data-end=writing]')"


def take(browser, studio, out: Path) -> None:
    """Take them; without a model only the page that says so."""
    page = opened(browser, studio.url)
    if not page.locator(".vs-pane-head select").count():
        sys.stderr.write("no model ships: the Chat page is not taken\n")
        return
    if not EVIDENCE.is_dir():
        pipeline.evaluate_vqa(VqaConfig(models="base,lora", limit=QUESTIONS), studio.workspace)
    example(page, "What would you do?", 1)
    if page.get_by_role("button", name="Ask the next level").count():
        page.get_by_role("button", name="Ask the next level").click()
        answered(page, 2)
    shoot(page, out / "chat-actions.png")
    lens(page, out)
    page.get_by_role("button", name="New").click()
    example(page, "Spatial", 0)
    ask(page, "Describe the picture.", 2)
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.keyboard.press("d")
    page.locator(".vs-exchange").nth(1).locator(".vs-token").nth(4).hover()
    shoot(page, out / "chat.png")
    page.keyboard.press("t")
    page.locator(".vs-retention :is(.vs-command, .vs-facts):visible").first.wait_for()
    if page.locator(".vs-facts:visible").count():
        page.locator(".vs-plot.js-plotly-plot").nth(1).wait_for()
        shoot(page, out / "chat-retention.png")


def lens(page: Page, out: Path) -> None:
    """An action chunk under both models, and over annotated chunks."""
    page.get_by_role("button", name="Lens", exact=True).last.click()
    page.get_by_role("button", name="+ action chunk").click()
    page.get_by_role("button", name="Score", exact=True).click()
    page.locator(".vs-lens-table").wait_for()
    page.get_by_label("How many chunks").fill(str(CHUNKS))
    page.get_by_role("button", name="Score chunks").click()
    page.get_by_role("status").filter(has_text="scored").wait_for()
    shoot(page, out / "chat-lens.png")


def opened(browser, url: str, **options) -> Page:
    """The page with everything loaded, in a browser that was never here."""
    page = browser.new_context(viewport=SIZE, **options).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(url + "/chat")
    page.locator(".vs-card img, .vs-choose h1").first.wait_for()
    return page


def example(page: Page, skill: str, number: int) -> None:
    """Ask a shipped question."""
    page.get_by_role("button", name=skill, exact=True).click()
    page.locator(".vs-card").nth(number).click()
    page.keyboard.press("Enter")
    answered(page, 1)


def ask(page: Page, text: str, number: int) -> None:
    """Ask, and wait for the answers to question `number`."""
    page.get_by_role("textbox", name="Question", exact=True).last.fill(text)
    page.keyboard.press("Enter")
    answered(page, number)


def answered(page: Page, number: int) -> None:
    """Wait until `number` questions are answered."""
    page.locator(".vs-exchange").nth(number - 1).wait_for()
    page.wait_for_function(FREE)


def shoot(page: Page, path: Path) -> None:
    """One picture, when everything has settled."""
    page.wait_for_timeout(400)
    page.screenshot(path=path)
    sys.stderr.write(f"{path}\n")
