"""Pictures of the Drive page: a chunk that waits for its yes, and a strip of the run that follows."""

import io
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page

from tests.browser import serving

SIZE = {"width": 1280, "height": 800}
TASK, SEED = "pick-and-place", 4
WAIT_MS = 300_000  # drawing takes its time on a busy computer
FRAME_PX, CAPTION_PX, FRAMES = 224, 44, 6
CAPTION = {"fill": (23, 28, 40), "font_size": 12}


def take(browser, studio: serving.Studio, out: Path) -> None:
    """Drive once with the shipped LoRA: `drive.png` at the second question, `drive-run.jpg` of the whole run."""
    serving.open_simulator(studio, TASK, SEED)
    page = browser.new_context(viewport=SIZE).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(studio.url + "/drive", wait_until="domcontentloaded")
    page.locator(".vs-setup").wait_for()
    mode = page.get_by_role("group", name="Mode")
    mode.get_by_role("button", name="Auto").click()
    page.get_by_role("button", name="Start Enter").click()
    page.locator(".vs-subtask.done").first.wait_for()
    mode.get_by_role("button", name="Step").click()
    page.locator("button:enabled", has_text="Approve").wait_for()  # not in its first moment
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(out / "drive.png", optimize=True)
    mode.get_by_role("button", name="Auto").click()
    finish(page)
    run = serving.ask(studio, "/drive/runs")["runs"][0]["id"]
    strip(studio, run).save(out / "drive-run.jpg", quality=82, optimize=True)
    page.context.close()


def finish(page: Page) -> None:
    """Say yes to the question that is open, again if it has expired meanwhile, until the run has ended."""
    while not page.get_by_role("button", name="Replay").is_visible():
        for name in ("Approve", "Ask again"):
            if page.get_by_role("button", name=name).is_visible():
                page.keyboard.press("Enter")
        page.wait_for_timeout(700)


def strip(studio: serving.Studio, run: str) -> Image.Image:
    """Moments of a run beside each other, under each the subtask of that moment and its time."""
    told = serving.ask(studio, f"/drive/runs/{run}")
    steps, camera = told["steps"], told["cameras"][0]["name"]
    picture = Image.new("RGB", (FRAMES * (FRAME_PX + 4) - 4, FRAME_PX + CAPTION_PX), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(CAPTION["font_size"])
    for place in range(FRAMES):
        step = steps[round(place * (len(steps) - 1) / (FRAMES - 1))]
        address = f"{studio.url}/drive/runs/{run}/frame/{step['step']}/{camera}.jpg"
        frame = Image.open(io.BytesIO(drawn(address))).convert("RGB").resize((FRAME_PX, FRAME_PX))
        left = place * (FRAME_PX + 4)
        picture.paste(frame, (left, 0))
        cycles = [each for each in told["records"] if each["kind"] == "cycle" and each["at"] <= step["at"]]
        subtask = (cycles or [{"driving": {"subtask": ""}}])[-1]["driving"]["subtask"]
        pen.text((left + 2, FRAME_PX + 4), subtask, fill=CAPTION["fill"], font=font)
        pen.text((left + 2, FRAME_PX + 22), f"{step['at'] - steps[0]['at']:.1f} s", fill=(91, 101, 119), font=font)
    return picture


def drawn(address: str) -> bytes:
    """A picture of a run; they are drawn a little after it."""
    end = time.monotonic() + WAIT_MS / 1000
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as response:
                return response.read()
        except urllib.error.HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
