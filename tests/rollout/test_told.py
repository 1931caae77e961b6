"""Policies that are told what to do beforehand, and the command line that tells them."""

import json

import numpy as np
import pytest

from vlm2vla.cli import main
from vlm2vla.config import ToldConfig, TrialsConfig
from vlm2vla.errors import ConfigError, NotFoundError
from vlm2vla.pipeline.store import open_store, register
from vlm2vla.rollout.told import Told, texts_of
from vlm2vla.rollout.trials import run_trials
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.workspace import Workspace


def test_motions_are_told_apart_by_semicolons_or_lines(tmp_path):
    assert texts_of(ToldConfig(say=" move forward 4 cm; close the gripper ;")) == (
        "move forward 4 cm",
        "close the gripper",
    )
    file = tmp_path / "words.txt"
    file.write_text("# up, then the list form\nmove up 2 cm\n\n[[0.0, 0.0, -2.0, 1]]\n")
    assert texts_of(ToldConfig(say_file=file)) == ("move up 2 cm", "[[0.0, 0.0, -2.0, 1]]")


def test_what_is_no_action_language_is_refused_before_anything_moves(tmp_path, workspace):
    file = tmp_path / "words.txt"
    file.write_text("move up 2 cm\n\ndance\n")
    with pytest.raises(ConfigError, match=r"words\.txt, line 3"):
        texts_of(ToldConfig(say_file=file))
    with pytest.raises(ConfigError, match="motion 2"):
        run_trials(TrialsConfig(policy="typed", trials=1), workspace, told=ToldConfig(say="move up 2 cm; [[0.0, 0.0"))
    with pytest.raises(ConfigError, match="nothing is said"):
        texts_of(ToldConfig(say=" ; ;"))
    with pytest.raises(ConfigError, match="cannot be read"):
        texts_of(ToldConfig(say_file=tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("policy", "told", "problem"),
    [
        ("expert", ToldConfig(say="move up 2 cm"), "words are for --policy typed"),
        ("typed", ToldConfig(say="move up 2 cm", episode="e"), "an episode is for --policy replay"),
        ("typed", ToldConfig(), "--say"),
        ("replay", ToldConfig(), "--episode ID"),
    ],
)
def test_a_policy_is_told_what_it_needs_and_nothing_else(policy, told, problem, workspace):
    with pytest.raises(ConfigError, match=problem):
        run_trials(TrialsConfig(policy=policy, trials=1), workspace, told=told)


def test_an_episode_that_is_not_there_cannot_be_replayed(workspace):
    with pytest.raises(NotFoundError, match="no episode 'nowhere'"):
        Told("replay", ToldConfig(episode="nowhere"), workspace)


@pytest.mark.slow
def test_typed_words_drive_from_the_command_line(workspace, capsys):
    arguments = ["rollout", "--policy", "typed", "--trials", "1", "--keep", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--say", "move up 3 cm; close the gripper", "--workspace", str(workspace.root)])
    assert ended.value.code == 0
    report = json.loads(capsys.readouterr().out)
    (row,) = report["rows"]
    assert (row["result"], row["end"]) == ("failure", "finished: the verifier called every subtask done")
    assert (row["words"]["chunks"], row["words"]["failed_parses"], row["actions"]) == (2, 0, 2)
    (episode,) = EpisodeIndex(workspace).episodes()
    assert episode.states[-1, 2] - episode.states[0, 2] == pytest.approx(0.03, abs=0.005)
    assert episode.states[-1, 6] < 0.2


@pytest.mark.slow
def test_a_rollout_is_driven_again_from_its_words(workspace):
    first = run_trials(TrialsConfig(trials=1, workers=1, keep=True), workspace)
    assert first.success_rate == 1
    (episode_id,) = EpisodeIndex(workspace).ids()
    again = run_trials(
        TrialsConfig(policy="replay", trials=1, workers=1, keep=True), workspace, told=ToldConfig(episode=episode_id)
    )
    assert (again.success_rate, again.errors) == (1, ())
    before, after = first.rows[0], again.rows[0]
    assert (after.actions, after.simulated_s) == (before.actions, before.simulated_s)
    assert EpisodeIndex(workspace).ids() == [episode_id]  # the same numbers are the same episode


@pytest.mark.slow
def test_an_episode_that_nobody_annotated_is_driven_from_its_numbers(workspace, tmp_path):
    run_trials(TrialsConfig(trials=1, workers=1, keep=True), workspace)
    (episode,) = EpisodeIndex(workspace).episodes()
    bare = Workspace.open(tmp_path / "bare")
    EpisodeIndex(bare).add([episode])
    register(EpisodeIndex(bare), open_store(bare))
    config = TrialsConfig(policy="replay", trials=1, workers=1, keep=True)
    report = run_trials(config, bare, told=ToldConfig(episode=episode.id))
    assert report.errors == ()
    assert report.rows[0].words["chunks"] > 1
    again = max(EpisodeIndex(bare).episodes(), key=lambda each: each.id != episode.id)
    assert np.abs(again.states[-1, :3] - episode.states[-1, :3]).max() < 0.04  # metres: the words round to half a cm
