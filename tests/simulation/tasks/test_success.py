import numpy as np
import pytest

from vlm2vla.simulation.success import LIFT_M, Progress, milestones, score
from vlm2vla.simulation.tasks import make_task


@pytest.fixture
def placed(tiny_world):
    """Task, start state, world of a pick, place and lift."""
    scene, task = make_task("pick-place-lift", 0)
    world = tiny_world(scene)
    return task, world.state(), world


def up(state, name, height):
    return np.array(state.objects[name].position) + [0, 0, height]


def test_credit_grows_with_the_milestones_and_success_needs_all(placed, changed):
    task, start, _ = placed
    progress = Progress(task, start)
    assert progress.score.partial == 0
    held = changed(start, task.target, held=True, on=None)
    seen = [progress.update(held).partial]
    lifted = changed(held, task.target, position=up(start, task.target, 0.06))
    seen.append(progress.update(lifted).partial)
    on_plate = changed(start, task.target, on=task.destination)
    seen.append(progress.update(on_plate).partial)
    assert not progress.score.success
    second = changed(on_plate, task.second, held=True, on=None, position=up(start, task.second, 0.06))
    final = progress.update(second)
    seen.append(final.partial)
    assert np.allclose(seen, [2 / 7, 3 / 7, 4 / 7, 1])
    assert final.success
    assert all(getattr(final, name) for name in milestones(task))


def test_success_is_about_now_and_milestones_about_ever(placed, changed):
    task, start, _ = placed
    on_plate = changed(start, task.target, on=task.destination)
    done = changed(on_plate, task.second, held=True, position=up(start, task.second, 0.06))
    first_falls = changed(done, task.target, on="table")
    result = score(task, start, [done, first_falls])
    assert result.placed
    assert not result.success
    assert result.partial < 1


def test_what_was_dropped_again_has_less_than_full_credit(tiny_world, changed):
    scene, task = make_task("pick-up", 5)
    start = tiny_world(scene).state()
    high = changed(start, task.target, held=True, position=up(start, task.target, 0.1))
    result = score(task, start, [high, start])
    assert result.lifted
    assert not result.success
    assert 2 / 3 < result.partial < 1


def test_held_without_height_is_not_lifted(tiny_world, changed):
    scene, task = make_task("pick-up", 5)
    start = tiny_world(scene).state()
    low = changed(start, task.target, held=True, position=up(start, task.target, LIFT_M - 0.001))
    high = changed(start, task.target, held=True, position=up(start, task.target, LIFT_M + 0.001))
    thrown = changed(start, task.target, held=False, position=up(start, task.target, 0.2))
    assert not score(task, start, [low]).success
    assert score(task, start, [high]).success
    assert not score(task, start, [thrown]).lifted


def test_held_on_the_destination_is_not_placed(tiny_world, changed):
    scene, task = make_task("pick-and-place", 5)
    start = tiny_world(scene).state()
    assert not score(task, start, [changed(start, task.target, on=task.destination, held=True)]).placed
    assert score(task, start, [changed(start, task.target, on=task.destination)]).success


def test_the_wrong_object_earns_nothing_and_is_named(tiny_world, changed):
    scene, task = make_task("pick-place-lift", 6)
    other = next(thing.name for thing in scene.objects if thing.name not in (task.target, task.second))
    start = tiny_world(scene).state()
    result = score(task, start, [changed(start, other, held=True)])
    assert result.wrong_object == other
    assert result.partial == 0


def test_an_error_is_not_a_failure(placed):
    task, start, _ = placed
    progress = Progress(task, start)
    assert progress.verdict().result == "failure"
    broken = progress.verdict("the camera is gone")
    assert (broken.result, broken.message) == ("error", "the camera is gone")
