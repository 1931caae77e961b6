"""A suite in the simulator: stopped, resumed, and the same as trials alone."""

import threading

import pytest

from vlm2vla.config import TrialsConfig
from vlm2vla.errors import NotFoundError
from vlm2vla.evaluation import suite as suites
from vlm2vla.evaluation.config import SuiteConfig
from vlm2vla.evaluation.lines import read_about, read_lines
from vlm2vla.evaluation.suite import Job
from vlm2vla.rollout.suite import _drive_piece, open_suite, run_suite
from vlm2vla.rollout.trials import run_trials
from vlm2vla.vlm.registry import ModelRegistry

pytestmark = pytest.mark.slow


def test_what_shapes_results_has_a_folder_of_its_own(workspace):
    usual = open_suite(SuiteConfig(), workspace)
    assert open_suite(SuiteConfig(trials=3, workers=1, models="lora"), workspace).folder == usual.folder
    assert open_suite(SuiteConfig(max_rows=SuiteConfig.max_rows + 1), workspace).folder != usual.folder
    other = open_suite(SuiteConfig(robot="simulated-long"), workspace)
    assert other.folder != usual.folder
    assert read_about(other.folder) == read_about(usual.folder) | {"robot": "simulated-long"}


def test_settings_that_came_later_leave_folders_of_earlier_suites_where_they_are(workspace):
    usual = open_suite(SuiteConfig(), workspace)
    shaping = ("suite", "verifier", "robot", "max_cycles", "max_rows", "back_after", "parse", "subtasks", "plans")
    assert set(read_about(usual.folder)) == set(shaping)
    hotter = open_suite(SuiteConfig(temperature_subtasks=1.0), workspace)
    assert read_about(hotter.folder) == read_about(usual.folder) | {"temperature_subtasks": 1.0}


def test_the_temperature_of_subtasks_reaches_the_policy(workspace, monkeypatch):
    asked = []
    monkeypatch.setattr("vlm2vla.rollout.suite.drive_seeds", lambda *_, policy: asked.append(policy) or [])
    job = Job("lora", "f", "pick-up", 0)
    _drive_piece(SuiteConfig(temperature_subtasks=1.0), [job], workspace.root)
    assert asked[0].temperature_subtasks == 1.0


def test_what_is_missing_is_said_before_anything_is_driven(workspace, tiny_folder):
    registry = ModelRegistry(workspace)
    registry.add("mine", str(tiny_folder / "base"))
    with pytest.raises(NotFoundError, match="not here: gone, lost; --models expert,mine drives the others"):
        run_suite(SuiteConfig(models="expert,gone,mine,lost"), workspace)
    with pytest.raises(NotFoundError, match="did you mean 'mine'.*--models expert drives the others.*models add"):
        run_suite(SuiteConfig(models="mime,expert"), workspace)
    with pytest.raises(NotFoundError, match="--verifier is kinematic, self or .*: no model 'kinematik'"):
        run_suite(SuiteConfig(models="expert,mine", verifier="kinematik"), workspace)
    assert not list((workspace.evaluations / "rollouts").glob("*"))


def test_another_robot_is_driven(workspace, monkeypatch):
    monkeypatch.setattr(suites, "SUITES", {"paper": ("pick-up",)})
    config = SuiteConfig(models="expert", trials=2, workers=1, robot="simulated-long")
    report = run_suite(config, workspace)
    assert report.rollouts == 2
    assert report.cells[0].success.value == 1.0


def test_a_stopped_suite_goes_on_where_it_was(workspace, monkeypatch):
    monkeypatch.setattr(suites, "SUITES", {"paper": ("pick-up", "pick-up-translated")})
    config = SuiteConfig(models="expert", trials=3, workers=1)
    stopped = threading.Event()
    half = run_suite(config, workspace, lambda done, total: stopped.set() if done else None, stopped=stopped)
    assert 0 < half.rollouts < 6
    assert half.rollouts + half.missing == 6
    before = read_lines(open_suite(config, workspace).folder / "rows.jsonl")
    seen = []
    whole = run_suite(config, workspace, lambda done, total: seen.append((done, total)))
    assert seen[0] == (half.rollouts, 6)
    assert (whole.rollouts, whole.missing) == (6, 0)
    rows = read_lines(open_suite(config, workspace).folder / "rows.jsonl")
    assert rows[: len(before)] == before
    assert len({(row["family"], row["seed"]) for row in rows}) == len(rows) == 6
    alone = run_trials(TrialsConfig(task="pick-up", trials=3, workers=1), workspace)
    stored = {row["seed"]: (row["result"], row["actions"]) for row in rows if row["family"] == "pick-up"}
    assert stored == {row.seed: (row.result, row.actions) for row in alone.rows}
