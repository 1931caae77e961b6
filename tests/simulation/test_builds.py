"""The second simulated robot: another hand, reach and camera, the same actions."""

import numpy as np
import pytest

from vlm2vla.embodiment import STRETCH_LONG, STRETCH_RE1
from vlm2vla.errors import ConfigError
from vlm2vla.robot.safety import Rules, Situation
from vlm2vla.simulation import World, make_scene
from vlm2vla.simulation.builds import LONG, RE1, build_called
from vlm2vla.simulation.frames import Pose, ee_of, from_world, moved
from vlm2vla.simulation.recorder import record_episode
from vlm2vla.simulation.tasks import make_task
from vlm2vla.trajectories import read, write_lerobot


@pytest.fixture(scope="module")
def long_world(mesh_folder):
    with World(make_scene(1), cache=mesh_folder, image_px=96, robot="simulated-long") as world:
        yield world


def row(dx=0.0, dy=0.0, dz=0.0, yaw=0.0):
    return np.array([dx, dy, dz, 0, 0, yaw, 1.0])


def test_the_usual_build_is_the_published_robot_to_the_last_bit():
    rng = np.random.default_rng(0)
    for values in rng.uniform(-1, 1, (50, 8)):
        pose, delta = Pose(*values[:4]), values[4:]
        assert np.array_equal(RE1.ee_of(pose), ee_of(pose))
        assert RE1.moved(pose, delta) == moved(pose, delta)
        assert np.allclose(LONG.ee_of(LONG.moved(pose, delta)) - LONG.ee_of(pose), delta)


def test_fingertips_are_where_the_geometry_says_and_move_as_told(long_world):
    long_world.reset(make_scene(1))
    engine = long_world._engine

    def fingertips():
        return from_world(np.mean([engine.data.geom_xpos[pad] for pad in long_world._places.pads], axis=0))

    for action in (row(dx=0.1), row(dy=0.05, yaw=0.8), row(dx=-0.05, dz=0.05, yaw=-1.2)):
        result = long_world.robot.act(action)
        assert result.outcome == "reached"
        assert np.allclose(result.measured[:6], action[:6], atol=0.004)
        assert np.allclose(fingertips(), engine.ee()[:3], atol=0.01)


def test_it_reaches_less_near_and_further_away_and_says_so(long_world):
    scene = make_scene(1)
    with World(scene, image_px=96) as usual:
        reach = []
        for world in (usual, long_world):
            world.reset(scene)
            world.robot.act(row(dz=0.1))
            ends = []
            for step in (0.25, -0.25):
                while world.robot.act(row(dx=step)).outcome == "reached":
                    pass
                ends.append(world.state().ee[0])
            reach.append(ends)
        assert not np.array_equal(usual.picture("external", 96), long_world.picture("external", 96))
    (far, near), (far_long, near_long) = reach
    assert far_long > far + 0.03
    assert near_long > near + 0.05


def test_the_safety_rules_take_the_limits_of_its_embodiment(long_world):
    robot = long_world.robot
    assert (robot.name, robot.embodiment) == (LONG.title, STRETCH_LONG)
    here = np.array([0.93, 0.0, 0.9, 0, 0, 0, 1.0])
    judged = {each.name: Rules(each).judge(row(dx=0.04), Situation(here)) for each in (STRETCH_LONG, STRETCH_RE1)}
    assert (judged["stretch_long"].verdict, judged["stretch_long"].rule) == ("clamped", "reach")
    assert judged["stretch_re1"].verdict == "pass"


def test_the_expert_picks_up_and_recordings_name_the_robot(long_world, tmp_path):
    episodes = []
    for seed in range(10):
        scene, task = make_task("pick-up", seed)
        recording = record_episode(long_world, scene, task, seed, cameras=("external",) if seed == 0 else ())
        assert recording.verdict.result != "error"
        episodes += [recording.episode] if recording.verdict.result == "success" else []
    assert len(episodes) >= 9
    write_lerobot(tmp_path / "data", [(episodes[0], [])])
    (back,) = read(tmp_path / "data", on_error=pytest.fail)
    assert back.embodiment is STRETCH_LONG


@pytest.mark.slow
def test_nine_of_ten_seeds_succeed(long_world):
    verdicts = []
    for seed in range(50):
        scene, task = make_task("pick-up", seed)
        verdicts.append(record_episode(long_world, scene, task, seed, cameras=()).verdict.result)
    assert verdicts.count("success") >= 45


def test_unknown_robots_offer_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'simulated-long'"):
        build_called("simulated-lng")
