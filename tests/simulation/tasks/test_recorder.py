import numpy as np
import pytest

from vlm2vla import motion
from vlm2vla.errors import ConfigError
from vlm2vla.robot import ActionResult
from vlm2vla.simulation.expert import Expert
from vlm2vla.simulation.recorder import RATE_HZ, record, record_episode
from vlm2vla.simulation.tasks import make_task


@pytest.fixture
def run(tiny_world):
    def run(family="pick-and-place", seed=1, **options):
        scene, task = make_task(family, seed)
        return record_episode(tiny_world(scene), scene, task, seed, **options)

    return run


def test_same_seed_same_states_and_actions(run):
    one, two, other = run(), run(), run(seed=2)
    assert np.array_equal(one.episode.states, two.episode.states)
    assert np.array_equal(one.episode.commands, two.episode.commands)
    assert not np.array_equal(one.episode.states[:20], other.episode.states[:20])


def test_an_episode_is_complete(run):
    recording = run(mistakes=False)
    episode, task = recording.episode, recording.task
    assert recording.verdict.result == "success"
    assert episode.rate_hz == RATE_HZ
    assert episode.embodiment.name == "stretch_re1"
    assert episode.instruction == task.instruction
    assert episode.paraphrases
    assert episode.states.shape == episode.commands.shape == (len(episode), 7)
    assert list(episode.cameras) == ["external", "head"]
    assert all(len(frames) == len(episode) for frames in episode.cameras.values())
    assert episode.frame(0, "head").startswith(b"head")
    # Nothing is commanded at the last step.
    assert not episode.commands[-1, :6].any()


def test_subtasks_cover_the_episode_and_tell_what_happens(run):
    recording = run(mistakes=False)
    episode, task = recording.episode, recording.task
    scene, _ = make_task("pick-and-place", 1)
    assert [subtask.text for subtask in episode.subtasks] == list(Expert(task, scene).subtasks)
    edges = [(subtask.start_step, subtask.end_step) for subtask in episode.subtasks]
    assert edges[0][0] == 0
    assert edges[-1][1] == len(episode)
    assert all(before[1] == after[0] for before, after in zip(edges, edges[1:], strict=False))
    bits = motion.gripper_bits(episode)
    grasp, release = episode.subtasks[1], episode.subtasks[4]
    assert bits[grasp.start_step] == 1
    assert bits[grasp.end_step - 1] == 0
    assert bits[release.start_step] == 1


def test_a_miss_is_counted_and_seen_in_the_subtasks(run):
    recording = run("pick-up", mistakes=True)
    assert recording.misses == 1
    assert len(recording.episode.subtasks) == 5


def test_successes_stream_to_the_writer_and_failures_are_left_out(tiny_world):
    class Sometimes(tiny_world):
        def reset(self, scene):
            super().reset(scene)
            if scene.seed % 3 == 0:
                self._inside = lambda: ""
            else:
                self.__dict__.pop("_inside", None)

    kept = []
    seen = []
    report = record(
        "pick-up",
        4,
        10,
        open_world=Sometimes,
        write=lambda episodes: [kept.append(episode) for episode in episodes] and "done",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [episode.source.ids["seed"] for episode in kept] == ["10", "11", "13", "14"]
    assert report.failed == (12,)
    assert report.written == "done"
    assert report.episodes == 4
    assert report.steps == sum(len(episode) for episode in kept)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_what_was_recorded_before_the_simulator_broke_is_kept(tiny_world):
    class Breaks(tiny_world):
        def servo(self, row, seconds):
            if self.time > 2:
                return ActionResult("fault", message="the physics diverged")
            return super().servo(row, seconds)

    scene, task = make_task("pick-up", 0)
    recording = record_episode(Breaks(scene), scene, task, 0)
    assert recording.verdict.result == "error"
    assert "diverged" in recording.verdict.message
    assert len(recording.episode) > 8
    assert len(recording.episode.cameras["external"]) == len(recording.episode)
    # It broke in mid-motion: the last command led nowhere that was seen.
    assert recording.episode.commands[-2, :3].any()
    assert not recording.episode.commands[-1, :6].any()


def test_only_what_the_expert_solves_is_recorded(tiny_world):
    with pytest.raises(ConfigError, match="pick-up-reference"):
        record("pick-up-reference", 1, 0, open_world=tiny_world, write=list)
