"""The Train page in a browser: a run is started, watched, found again, stopped and gone on with."""

from contextlib import suppress

import pytest
from playwright.sync_api import expect

from vlm2vla.errors import TrainingError
from vlm2vla.training.run import RunFolder
from vlm2vla.training.runs import runs

PATIENCE_MS = 600_000  # a process that loads torch and a model, on a computer that trains others; usually seconds
STEPS = 5000  # more than a test waits for


@pytest.fixture(autouse=True)
def patience(_patience):
    expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def trains(studio):
    """A studio whose runs end with the test."""
    yield studio
    for run in runs(studio.workspace):
        with suppress(TrainingError):
            run.ask_to_stop()


def open_page(page, studio):
    page.goto(studio.url + "/train")
    expect(page.locator("#train-told")).not_to_be_empty()
    return page


def start(page, base) -> str:
    """Start a run and give its name."""
    page.get_by_label("Other base model").fill(str(base))
    page.get_by_label("Steps").fill(str(STEPS))
    page.get_by_label("Also labels that nobody accepted yet").check()
    page.locator("#train-start").click()
    expect(chosen(page)).to_have_value("embedded-lora-001")
    return "embedded-lora-001"


def chosen(page):
    return page.locator("#train-run input")


def test_a_run_is_started_watched_found_again_stopped_and_resumed(trains, page, tiny_folder):
    told = open_page(page, trains).locator("#train-told")
    expect(told).to_contain_text("No run yet")
    name = start(page, tiny_folder / "base")
    stop, resume = page.locator("#train-stop"), page.locator("#train-resume")
    expect(told).to_contain_text("training")
    expect(told).to_contain_text(f"of {STEPS}")
    expect(page.locator(".vs-loss polyline").first).to_be_visible()
    expect(page.locator("#train-runs")).to_contain_text("training")
    expect(resume).to_be_disabled()

    open_page(page, trains)
    expect(chosen(page)).to_have_value(name)
    expect(page.locator(".vs-loss polyline").first).to_be_visible()
    stop.click()
    expect(told).to_contain_text("stopped after step")
    expect(stop).to_be_disabled()
    (run,) = runs(trains.workspace)
    before = run.progress().step

    resume.click()
    expect(told).to_contain_text("training")
    page.wait_for_function(
        "before => +(/step (\\d+) of/.exec(document.querySelector('#train-told').textContent)?.[1] ?? 0) > before",
        arg=before,
        timeout=PATIENCE_MS,
    )
    stop.click()
    expect(told).to_contain_text("stopped after step")
    assert min(row["step"] for row in run.metrics()) == 1
    page.locator("#train-keep input, #train-keep textarea").first.fill("mine")
    page.locator("#train-add").click()
    expect(page.get_by_text("mine is in the list of models")).to_be_visible()


def test_a_run_that_cannot_begin_says_why_and_runs_from_elsewhere_are_listed(trains, page):
    told = open_page(page, trains).locator("#train-told")
    page.get_by_label("Other base model").fill("/nowhere/at/all")
    page.locator("#train-start").click()
    expect(told).to_contain_text("killed")
    expect(told).to_contain_text("/nowhere/at/all")
    typed = trains.workspace.runs / "typed"
    typed.mkdir()
    run = RunFolder(typed)
    run.write("progress.json", {"state": "stopped", "step": 3, "steps": 9, "updated_at": "2020"})
    expect(page.locator("#train-runs")).to_contain_text("typed")
    chosen(page).click()
    page.get_by_role("option", name="typed").click()
    expect(told).to_contain_text("step 3 of 9")
    expect(page.locator("#train-resume")).to_be_enabled()


def test_the_report_of_the_workspace_is_offered(trains, page):
    folder = trains.workspace.evaluations / "report"
    folder.mkdir()
    (folder / "index.html").write_text("<h1>What was kept</h1>")
    link = open_page(page, trains).locator("#train-evidence a")
    expect(link).to_have_attribute("href", "/evidence/index.html")
    expect(page.locator("#train-evidence")).to_contain_text(str(folder))
