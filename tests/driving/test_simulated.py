"""The simulated robot: the expert drives it, samples of a fixed rate, the table is kept out of, live pictures."""

import numpy as np
import pytest

from tests.driving.conftest import ANNA, Desk, until
from vlm2vla.driving import DriveService
from vlm2vla.driving.robots import open_simulated
from vlm2vla.errors import ConfigError
from vlm2vla.trajectories import EpisodeIndex

pytest.importorskip("mujoco")


@pytest.fixture
def desk(workspace):
    service = DriveService(workspace)
    desk = Desk(service, None)
    service.open(ANNA, "anna", {"robot": "simulated", "task": "pick-up", "seed": 1})
    until(lambda: service.connected is not None and service.parts("opening")["opening"] is None)
    service.connected.stage.world.speed = 0.0  # as fast as it can
    desk.robot = service.connected.robot
    yield desk
    desk.silence()
    service.close()


def test_the_expert_does_the_task_and_the_run_opens_as_an_episode_of_five_steps_a_second(desk, workspace):
    scene = desk.service.state()["robot"]["scene"]
    assert {example["language"] for example in scene["examples"]} == {"en", "es", "zh", "hi"}
    run = desk.start("expert", instruction=scene["instruction"])
    assert desk.ended().end == "finished"
    assert run.truth == {"partial": 1.0, "success": True, "milestones": dict.fromkeys(run.truth["milestones"], True)}
    episode = EpisodeIndex(workspace).get(desk.service.history.annotate(run.plan.id))
    assert episode.rate_hz == pytest.approx(5.0)
    assert list(episode.cameras) == ["external", "head"]
    assert np.abs(np.diff(episode.states[:, :3], axis=0)).max() < 0.05
    assert np.allclose(episode.states[:-1, :6] + episode.commands[:-1, :6], episode.states[1:, :6], atol=1e-4)
    assert set(np.unique(episode.commands[:, 6])) == {0.0, 1.0}


def test_typed_words_move_it_and_the_table_is_kept_out_of(desk):
    start = desk.robot.glance().ee
    desk.start("typed", instruction="try it")
    desk.service.steering.type(ANNA, "move forward 4 cm, then close the gripper", "anna")
    until(lambda: len(desk.records("action_done")) == 2)
    assert desk.robot.glance().ee[0] - start[0] == pytest.approx(0.04, abs=0.003)
    for _ in range(12):
        asked = len(desk.records("action_asked"))
        desk.service.steering.type(ANNA, "[[0, 0, -4, 0]]", "anna")
        until(lambda asked=asked: len(desk.records("action_asked")) > asked)
        if desk.records("action_asked")[-1]["judged"]["verdict"] == "refused":
            break
        until(lambda: desk.service.run.line.waiting)
    assert "the table" in desk.records("action_asked")[-1]["judged"]["message"]
    desk.service.stop("anna")


def test_another_scene_on_the_same_robot(desk):
    before = desk.service.state()["robot"]["scene"]["objects"]
    desk.service.change_scene(ANNA, "pick-and-place", 5)
    until(lambda: desk.service.parts("opening")["opening"] is None)
    after = desk.service.state()["robot"]["scene"]
    assert (after["task"], after["seed"], after["objects"] != before) == ("pick-and-place", 5, True)
    with pytest.raises(ConfigError, match="did you mean 'pick-up'"):
        open_simulated("pickup", 1)


def test_the_run_stop_of_the_simulated_robot(desk):
    desk.service.press_runstop()
    assert any(row["name"] == "runstop" and row["state"] == "bad" for row in desk.service.checks())
    desk.service.release_runstop(ANNA)
    assert all(row["state"] in ("ok", "none") for row in desk.service.checks())


def test_two_cameras_are_live_while_a_policy_drives(desk):
    desk.service.connected.stage.world.speed = 1.0
    eyes = desk.service.connected.eyes
    desk.start("expert", instruction=desk.service.state()["robot"]["scene"]["instruction"])
    for camera in eyes.cameras:
        eyes.wait(camera, 400, 60)
    until(lambda: desk.robot.status().moving)
    first = {camera: eyes.latest(camera, 400).number for camera in eyes.cameras}
    # How many a second is the machine's affair; that none comes before the run is over would be a still picture.
    until(lambda: all(eyes.latest(camera, 400).number >= first[camera] + 2 for camera in eyes.cameras))
    assert not desk.service.run.over
    desk.service.stop("anna")
