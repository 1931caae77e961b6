"""The shipped fine-tuned model drives the simulated robot on the Drive page, asked in two languages."""

import statistics

import pytest
from playwright.sync_api import expect

from tests.browser import serving
from vlm2vla.workspace import Workspace

pytestmark = pytest.mark.slow
RED_CUBE = 214  # a scene with one red cube
MOST_CYCLES = 4
LEVELS = ("subtasks", "plan", "chunk")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    workspace = Workspace.open(tmp_path_factory.mktemp("model-drives"))
    driving = serving.patient(workspace)
    with serving.serve(workspace, driving) as studio:
        yield studio
    driving.close()


@pytest.mark.parametrize("instruction", ["pick up the red cube", "coge el cubo rojo"])
def test_it_drives_unless_somebody_chooses_and_its_three_levels_are_seen(studio, page, instruction, record_property):
    serving.open_simulator(studio, "pick-up", RED_CUBE)
    page.set_default_timeout(120_000)
    expect.set_options(timeout=120_000)
    page.goto(studio.url + "/drive", wait_until="domcontentloaded")
    expect(page.get_by_label("Policy", exact=True)).to_have_value("lora")
    page.get_by_role("group", name="Mode").get_by_role("button", name="Auto").click()
    page.get_by_label("Instruction", exact=True).fill(instruction)
    page.get_by_role("button", name="Start Enter").click()
    ended = page.get_by_role("button", name="Replay")
    expect(ended).to_be_hidden()  # no longer the trace of the run before
    expect(page.locator(".vs-subtask").first).to_contain_text("red cube")
    expect(page.locator(".vs-plan-text").first).to_contain_text("cm")
    expect(page.locator(".vs-chunk-row").first).to_contain_text("cm")
    expect(page.locator(".vs-chunk-row").first).to_contain_text("did")
    page.wait_for_function(
        "most => document.querySelectorAll('.vs-cycle').length > most"
        " || document.querySelector('.vs-end').checkVisibility()",
        arg=MOST_CYCLES,
    )
    page.keyboard.press("Escape")
    expect(ended).to_be_visible()
    newest = serving.ask(studio, "/drive/runs")["runs"][0]
    assert newest["instruction"] == instruction
    records = serving.ask(studio, f"/drive/runs/{newest['id']}")["records"]
    seconds = {level: [record["seconds"] for record in records if record["kind"] == level] for level in LEVELS}
    assert all(seconds.values()), "all three levels were written"
    record_property("median_s", statistics.median(seconds["plan"] + seconds["chunk"]))
