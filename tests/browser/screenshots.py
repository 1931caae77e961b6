"""Retakes the pictures of the README: python -m tests.browser.screenshots [--data DIR] [--out DIR] [--only TAB]."""

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser import chat_pictures, drive_pictures, recordings, serving
from vlm2vla import pipeline
from vlm2vla.config import AnnotateConfig, GeminiConfig, ImportConfig, LanguageConfig
from vlm2vla.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
SMALL, LARGE = {"width": 1280, "height": 720}, {"width": 1920, "height": 1080}
SAVED = "document.querySelector('.vs-saved').dataset.pending === '0'"


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="data set to show; drawn recordings when not given")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "screenshots")
    parser.add_argument("--only", choices=("annotate", "chat", "drive"), help="pictures of one tab; all when not given")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data = chosen.data or recordings.write(Path(folder) / "recordings", hostile=False)
        workspace = Workspace.open(Path(folder) / "demo")
        pipeline.import_data(ImportConfig(data), workspace)
        pipeline.annotate(AnnotateConfig(), LanguageConfig(), GeminiConfig(), workspace)
        browser = playwright.chromium.launch(executable_path=serving.chromium(), args=serving.FLAGS)
        with (
            serving.serve(workspace, serving.patient(workspace)) as studio,
            serving.serve(Workspace.open(Path(folder) / "empty")) as bare,
        ):
            for tab, take in {
                "annotate": lambda: take_all(browser, studio.url, bare.url, chosen.out),
                "chat": lambda: chat_pictures.take(browser, studio, chosen.out),
                "drive": lambda: drive_pictures.take(browser, studio, chosen.out),
            }.items():
                if chosen.only in (None, tab):
                    take()
        browser.close()


def take_all(browser, url: str, empty_url: str, out: Path) -> None:
    """The tab in its states, light and dark, small and large."""
    page = opened(browser, url, SMALL)
    shoot(page, out / "annotate-light.png")
    page.keyboard.press("?")
    shoot(page, out / "keys.png")
    page.keyboard.press("Escape")
    drag(page, 0.16)
    shoot(page, out / "stale.png")
    page.keyboard.press("Enter")
    page.wait_for_function(SAVED)
    page.keyboard.press("d")
    page.wait_for_function(SAVED)
    page.locator(".vs-history summary").click()
    conflict(browser, page, out)
    dark = opened(browser, url, LARGE, color_scheme="dark")
    for _ in range(14):
        dark.keyboard.press("ArrowRight")
    shoot(dark, out / "annotate-dark.png")
    bare = browser.new_context(viewport=SMALL).new_page()
    bare.goto(empty_url)
    bare.get_by_role("heading", name="No episodes yet").wait_for()
    shoot(bare, out / "empty.png")


def opened(browser, url: str, size: dict, **options) -> Page:
    """A page with the first episode open and its frames loaded."""
    page = browser.new_context(viewport=size, **options).new_page()
    page.goto(url)
    page.locator(".vs-frame[data-step]").wait_for()
    page.locator(".vs-span").nth(1).click()
    return page


def conflict(browser, page: Page, out: Path) -> None:
    """Two people change the same plan."""
    other = browser.new_context(viewport=SMALL).new_page()
    other.goto(page.url)
    other.locator(".vs-span").first.wait_for()
    other.get_by_label("Your name").fill("anna")
    other.get_by_label("Motion plan").fill("move down and forward, then close the gripper")
    other.keyboard.press("Enter")
    other.wait_for_function(SAVED)
    page.get_by_label("Motion plan").fill("move straight down, then close the gripper")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    shoot(page, out / "conflict.png")


def drag(page: Page, share: float) -> None:
    """Move the first boundary."""
    edge, tracks = page.locator(".vs-edge").first.bounding_box(), page.locator(".vs-tracks").bounding_box()
    page.mouse.move(edge["x"] + 6, edge["y"] + 10)
    page.mouse.down()
    page.mouse.move(tracks["x"] + tracks["width"] * share, edge["y"] + 10, steps=4)
    page.mouse.up()
    page.wait_for_function(SAVED)


def shoot(page: Page, path: Path) -> None:
    """One picture, when everything has settled."""
    page.wait_for_function(
        "document.querySelector('.vs-veil').hidden || !document.querySelector('.vs-stage').offsetParent"
    )
    page.wait_for_timeout(300)
    page.screenshot(path=path)
    sys.stderr.write(f"{path}\n")


if __name__ == "__main__":
    main()
