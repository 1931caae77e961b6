"""Rotation from recordings to driving: seven numbers a row, and weights that are asked for their own form."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vlm2vla import pipeline
from vlm2vla.config import AnnotateConfig, GeminiConfig, ImportConfig, LanguageConfig, PolicyConfig, TrialsConfig
from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import ConfigError
from vlm2vla.language import form
from vlm2vla.policy import Driving, KinematicVerifier
from vlm2vla.robot.scripted import HandClock, ScriptedRobot
from vlm2vla.rollout.drivers import Drivers, as_trained
from vlm2vla.rollout.trials import run_trials
from vlm2vla.simulation import World, make_scene
from vlm2vla.simulation.recorder import record
from vlm2vla.training.config import TrainConfig, TuneConfig, recipe_of
from vlm2vla.trajectories import write_lerobot
from vlm2vla.vlm.origin import Origin, write_origin
from vlm2vla.vlm.registry import ModelRegistry


def test_weights_are_asked_for_the_form_they_were_trained_in(workspace, tiny_folder, tmp_path):
    registry = ModelRegistry(workspace)
    for name, told in (
        ("turning", "rows7:0.5cm:1deg"),
        ("coarse", "sentence7:1cm:1deg"),
        ("ids", "tokens:0.5cm:a,b,c,d,e,f,g,h,i,j"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for file in (tiny_folder / "lora").iterdir():
            (folder / file.name).symlink_to(file) if file.name != "vlm2vla.json" else None
        write_origin(folder, Origin(str(tiny_folder / "base"), actions="language", form=told))
        entry = registry.add(name, str(folder), base=str(tiny_folder / "base"))
        asked = as_trained(entry, PolicyConfig(seed=3))
        assert (asked.form, asked.seed) == (told, 3)
        assert Drivers(workspace).policy(name, STRETCH_RE1)._form.name == told
    far = registry.add("far", "http://127.0.0.1:9/v1", actions="language")
    assert as_trained(far, PolicyConfig(form="rows7:0.5cm:1deg")).form == "rows7:0.5cm:1deg"
    coded = registry.add("coded", "http://127.0.0.1:9/v1", actions="tokens", form="tokens:0.5cm:a,b,c,d,e,f,g,h,i,j")
    assert as_trained(coded, PolicyConfig()).form == coded.form == "tokens:0.5cm:a,b,c,d,e,f,g,h,i,j"
    base = registry.add("plain", str(tiny_folder / "base"))
    assert as_trained(base, PolicyConfig(form="sentence:0.5cm")).form == "sentence:0.5cm"


def test_digits_are_those_of_the_base_and_only_for_tokens():
    tokens = TrainConfig(variant="lora-tokens")
    own = recipe_of(tokens).form
    assert own.startswith("tokens:0.5cm:")
    other = recipe_of(replace(tokens, base_model="google/gemma-3-4b-it"))
    assert other.form == "tokens:0.5cm"
    asked = recipe_of(tokens, TuneConfig(action_tokens=tuple("abcdefghij")))
    assert asked.form == "tokens:0.5cm:a,b,c,d,e,f,g,h,i,j"
    with pytest.raises(ConfigError, match="writes words"):
        recipe_of(TrainConfig(), TuneConfig(action_tokens=tuple("abcdefghij")))


def test_the_form_of_a_run_is_a_setting():
    assert recipe_of(TrainConfig(), TuneConfig(form="rows7")).form == "rows7:0.5cm:1deg"
    assert recipe_of(TrainConfig()).form == "rows:0.5cm"
    with pytest.raises(ConfigError, match="tokens"):
        recipe_of(TrainConfig(variant="lora-tokens"), TuneConfig(form="rows7"))


def test_a_turn_that_is_not_done_is_not_called_done():
    robot = ScriptedRobot(clock=HandClock())
    before = robot.observe()
    goal = before.ee + [0, 0, 0, 0, 0, 0.5, 0]
    goal[6] = float(before.ee[6] >= 0.5)
    driving = Driving("turn", ("Turn",)).heading(goal)
    verdict = KinematicVerifier().verify(driving, before, before)
    assert not verdict.done
    assert "29 degrees" in verdict.reason


@pytest.mark.slow
def test_the_expert_says_and_drives_rotation(workspace):
    config = TrialsConfig(task="pick-up-turned", trials=3, workers=1, keep=True)
    report = run_trials(config, workspace)
    assert report.success_rate >= 2 / 3
    for trial in report.rows:
        said = json.loads(next(iter(workspace.rollouts.glob(f"{trial.kept.rsplit('/', 1)[1]}/said.json"))).read_text())
        assert said["action_form"] == "rows7:0.5cm:1deg"
        rows = [form(said["action_form"]).parse(subtask["chunk"]).rows for subtask in said["subtasks"]]
        assert abs(np.concatenate(rows)[:, 5].sum()) > 1.0
        assert "rotate" in said["subtasks"][0]["plan"]
    without = run_trials(TrialsConfig(policy="expert-4dof", task="pick-up-turned", trials=1, workers=1), workspace)
    assert without.rows[0].result == "failure"


@pytest.mark.slow
def test_recorded_rotation_is_trained_on_and_driven_with(workspace, tiny_folder, tmp_path):
    record(
        "pick-up-turned",
        4,
        200_000,
        open_world=lambda scene: World(scene, image_px=64),
        write=lambda episodes: write_lerobot(tmp_path / "data", ((episode, []) for episode in episodes)),
        cameras=("external",),
    )
    pipeline.import_data(ImportConfig(tmp_path / "data", dataset="turned"), workspace)
    pipeline.annotate(AnnotateConfig(), LanguageConfig(form="rows7"), GeminiConfig(), workspace)
    report = pipeline.train(
        TrainConfig(base_model=str(tiny_folder / "base"), include_unreviewed=True, max_steps=1, run="turned"),
        TuneConfig(form="rows7", steps=1, batch=2),
        workspace,
    )
    rows = [json.loads(line) for line in next(workspace.training_sets.glob("*/metadata.jsonl")).open()]
    chunks = [row for row in rows if row["level"] == "chunk"]
    turns = [form("rows7:0.5cm:1deg").parse(row["completion"][0]["content"]).rows[:, 5] for row in chunks]
    assert np.abs(np.concatenate(turns)).max() > 0.05
    assert all("dyaw" in row["prompt"][-1]["content"] for row in chunks)
    ModelRegistry(workspace).add("turned", report.result, base=str(tiny_folder / "base"))
    policy = Drivers(workspace).policy("turned", STRETCH_RE1)
    assert policy._form.name == "rows7:0.5cm:1deg"
    with World(make_scene(1), image_px=64) as world:
        driving = Driving("pick up the box", ("Move to the box",), plan="move down")
        for event in policy.chunk(driving, world.robot.observe()):
            assert event is not None
    trials = run_trials(TrialsConfig(policy="turned", task="pick-up-turned", trials=1, max_cycles=1), workspace)
    assert trials.rows[0].result == "failure"
