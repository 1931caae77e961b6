import subprocess
import sys

import numpy as np
import pytest

from vlm2vla.errors import NotFoundError, RobotError
from vlm2vla.simulation import SceneNeeds, World, make_scene


def drive(world, goal, gripper):
    """Go to `goal` [3] in steps that a policy would take."""
    for _ in range(40):
        way = np.asarray(goal) - world.state().ee[:3]
        if np.abs(way).max() < 0.002:
            return
        assert world.robot.act(np.array([*np.clip(way, -0.05, 0.05), 0, 0, 0, gripper])).outcome == "reached"
    raise AssertionError(f"never came to {goal}")


def pick(world, name, height=0.12):
    position = world.state().objects[name].position
    above = world.state().ee[2]
    drive(world, [position[0], position[1], above], 1.0)
    drive(world, position, 1.0)
    world.robot.act(np.array([0, 0, 0, 0, 0, 0, 0.0]))
    drive(world, world.state().ee[:3] + [0, 0, height], 0.0)


@pytest.mark.parametrize("kind", ["cube", "cylinder", "can", "ball"])
def test_every_graspable_kind_is_lifted_and_held_by_friction(world, kind):
    world.reset(make_scene(5, require=SceneNeeds(kinds=(kind,))))
    name = next(thing.name for thing in world.scene.objects if thing.kind == kind)
    pick(world, name)
    world.wait(1.0)
    state = world.state().objects[name]
    assert state.held
    assert state.on is None
    assert state.lifted_m > 0.10


def test_same_scene_and_actions_give_identical_states(world, mesh_folder):
    actions = np.random.default_rng(0).uniform(-0.04, 0.04, (12, 7)) * [1, 1, 1, 0, 0, 2, 0]
    actions[:, 6] = [1, 1, 1, 1, 0, 0, 0, 1, 1, 0.5, 0.5, 0]

    def run(one):
        return [one.qpos.copy() for action in actions if one.robot.act(action)]

    scene = make_scene(11)
    world.reset(make_scene(12))  # something else first
    run(world)
    world.reset(scene)
    again = run(world)
    with World(scene, cache=mesh_folder) as fresh:
        first = run(fresh)
    assert np.array_equal(np.array(first), np.array(again))


def test_pictures_are_the_same_for_the_same_state_and_differ_between_scenes(world):
    first = world.picture("external")
    assert first.shape == (224, 224, 3)
    assert world.picture("head").shape == (224, 168, 3)
    world.reset(make_scene(2))
    other = world.picture("external")
    world.reset(make_scene(1))
    assert np.array_equal(first, world.picture("external"))
    assert np.abs(first.astype(int) - other).mean() > 5


def test_a_reused_world_shows_what_a_fresh_one_shows(world, mesh_folder):
    world.picture("external")  # the graphics exist before the scene changes
    scene = make_scene(21, require=SceneNeeds(containers=2, cards=3))
    world.reset(scene)
    with World(scene, cache=mesh_folder) as fresh:
        for camera in ("external", "head"):
            assert np.array_equal(world.picture(camera), fresh.picture(camera))


def test_unknown_camera_is_named(world):
    with pytest.raises(NotFoundError, match="wrist.*external"):
        world.render("wrist")


def test_closed_world_gives_no_pictures(mesh_folder):
    world = World(make_scene(1), cache=mesh_folder)
    world.render("external")
    world.close()
    world.close()
    with pytest.raises(RobotError, match="closed"):
        world.robot.observe()
    with pytest.raises(RobotError, match="closed"):
        world.render("external")
    assert world.robot.act(np.array([0.01, 0, 0, 0, 0, 0, 1])).outcome == "fault"


def test_objects_begin_at_rest_where_the_scene_says(world):
    for seed in (1, 2, 3):
        scene = make_scene(seed, require=SceneNeeds(graspable=3, containers=2, cards=2))
        world.reset(scene)
        state = world.state()
        for thing in scene.objects:
            found = state.objects[thing.name]
            assert np.hypot(*(found.position[:2] - thing.position)) < 0.002
            assert abs(found.lifted_m) < 0.002
            assert found.on == "table"
            assert not found.held


@pytest.mark.parametrize("kind", ["plate", "bowl", "tray"])
def test_what_is_put_on_a_container_lies_on_it(world, kind):
    world.reset(make_scene(4, require=SceneNeeds(kinds=("cube", kind))))
    cube = next(thing.name for thing in world.scene.objects if thing.kind == "cube")
    target = next(thing for thing in world.scene.objects if thing.kind == kind)
    pick(world, cube)
    above = world.state().ee[2]
    x, y = world.state().objects[target.name].position[:2]
    drive(world, [x, y, above], 0.0)
    drive(world, [x, y, world.scene.table_height_m + target.size_m[2] + 0.04], 0.0)
    world.robot.act(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    drive(world, [x, y, above], 1.0)
    world.wait(1.0)
    state = world.state().objects[cube]
    assert state.on == target.name
    assert not state.held
    assert world.state().objects[target.name].on == "table"


def test_a_model_that_had_other_scenes_equals_a_fresh_one(world, mesh_folder):
    for needs in (SceneNeeds(kinds=("ball", "can", "bowl", "tray"), cards=3), SceneNeeds(graspable=6)):
        world.reset(make_scene(5, require=needs))
    world.reset(make_scene(6))
    with World(make_scene(6), cache=mesh_folder) as fresh:
        for name in dir(fresh._model):
            value = getattr(fresh._model, name) if not name.startswith("_") else None
            if isinstance(value, np.ndarray):
                assert np.array_equal(value, getattr(world._model, name)), name


def test_nothing_drives_while_the_scene_changes(world):
    calls = []

    def nested():
        calls.append(world.robot.act(np.array([0.01, 0, 0, 0, 0, 0, 1])).outcome)

    end = world.subscribe(0.1, nested)
    world.robot.act(np.array([0.03, 0, 0, 0, 0, 0, 1]))
    end()
    assert set(calls) == {"refused"}


def test_physics_that_come_apart_are_an_error_until_the_scene_begins_again(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    world.reset(make_scene(1))
    at = world.robot.observe().ee
    world._engine.data.qvel[:] = np.nan
    for _ in range(2):
        with pytest.raises(RobotError, match="came apart"):
            world.wait(0.1)
    assert np.array_equal(world.robot.observe().ee, at)  # where it was last seen, not where MuJoCo would begin
    world.reset(make_scene(1))
    world.wait(0.1)
    assert list(tmp_path.iterdir()) == []  # no log of MuJoCo's where the command was started


def test_subscribers_are_served_at_their_rate_in_simulated_time(world):
    times = []
    end = world.subscribe(0.2, lambda: times.append(world.state().time_s))
    world.wait(2.0)
    end()
    world.wait(1.0)
    assert len(times) == 10
    assert np.diff(times) == pytest.approx(0.2, abs=0.021)


_TRIAL = """
import hashlib, sys
from pathlib import Path
import numpy as np
from vlm2vla.simulation import World, make_scene
with World(make_scene(17), cache=Path(sys.argv[1])) as world:
    digest = hashlib.sha256()
    for way in np.random.default_rng(5).uniform(-0.04, 0.04, (15, 3)):
        action = np.array([*way, 0, 0, 0, 1])
        result = world.robot.act(action)
        digest.update(world.qpos.tobytes() + result.measured.tobytes() + world.render("external"))
print(digest.hexdigest())
"""


def test_another_process_sees_the_same_states_and_pictures(mesh_folder):
    command = [sys.executable, "-c", _TRIAL, str(mesh_folder)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True, timeout=60) for _ in range(2)]
    assert len(runs[0].stdout) > 60
    assert runs[0].stdout == runs[1].stdout


def test_without_graphics_everything_but_pictures_works(mesh_folder, monkeypatch):
    def broken(size):
        raise ImportError("libEGL is missing")

    monkeypatch.setattr("vlm2vla.simulation.cameras._gl_context", broken)
    with World(make_scene(1), cache=mesh_folder) as world:
        for _ in range(2):
            with pytest.raises(RobotError, match="libEGL is missing.*make system"):
                world.render("external")
        world.reset(make_scene(2))
        assert world.robot.act(np.array([0.02, 0, 0, 0, 0, 0, 1])).outcome == "reached"
