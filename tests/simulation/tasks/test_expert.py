import numpy as np
import pytest

from vlm2vla.simulation.expert import Expert
from vlm2vla.simulation.style import RECOVERY_SHARE, draw_style
from vlm2vla.simulation.success import Progress
from vlm2vla.simulation.tasks import RECORDED, make_task


def drive(world, task, scene, seed=0, *, disturb=None, cycles=300, grip_cycles=4, **options):
    """Steps and states of one closed-loop run."""
    expert = Expert(task, scene, seed, grip_cycles=grip_cycles, **options)
    progress = Progress(task, world.state())
    steps, states = [], [world.state()]
    for cycle in range(cycles):
        if disturb:
            disturb(cycle, world, steps)
        step = expert.next(world.state())
        if step is None:
            break
        steps.append(step)
        world.servo(step.row, 0.2)
        states.append(world.state())
        progress.update(states[-1])
    return steps, states, progress.score


def labels(steps):
    texts = [step.subtask for step in steps]
    return [text for index, text in enumerate(texts) if index == 0 or text != texts[index - 1]]


@pytest.mark.parametrize("family", RECORDED)
def test_solves_its_families_where_nothing_slips(family, tiny_world):
    for seed in range(30):
        scene, task = make_task(family, seed)
        steps, _, score = drive(tiny_world(scene), task, scene, seed, mistakes=False)
        assert score.success, (seed, score)
        assert score.partial == 1
        assert labels(steps) == list(Expert(task, scene).subtasks)


def test_rows_stay_within_the_step_and_the_axes_of_the_robot(tiny_world):
    for seed in range(20):
        scene, task = make_task("pick-place-lift", seed)
        steps, _, _ = drive(tiny_world(scene), task, scene, seed, step_m=0.5)
        rows = np.array([step.row for step in steps])
        assert np.abs(rows[:, :3]).max() <= 0.05
        assert not rows[:, 3:6].any()
        assert set(rows[:, 6]) == {0.0, 1.0}


def test_a_miss_on_purpose_is_seen_and_mended(tiny_world):
    mended = 0
    for seed in range(20):
        scene, task = make_task("pick-place-lift", seed)
        steps, _, score = drive(tiny_world(scene), task, scene, seed, mistakes=True)
        phases = [step.phase for step in steps]
        assert score.success
        mended += "back off" in phases
        texts = labels(steps)
        assert texts.count(f"Grasp the {task.target}") == 2
        assert texts.count(f"Grasp the {task.second}") == 1
        assert texts[-1] == f"Lift the {task.second}"
    assert mended == 20


def test_a_share_of_the_seeds_makes_a_mistake():
    share = np.mean([bool(draw_style(seed).mistake) for seed in range(1000)])
    assert abs(share - RECOVERY_SHARE) < 0.04


def test_what_falls_on_the_way_is_picked_up_again(tiny_world):
    def drop_once(cycle, world, steps):
        carried = steps and steps[-1].phase == "carry" and sum(step.phase == "carry" for step in steps) == 4
        if carried and world.held:
            world.drop()

    scene, task = make_task("pick-and-place", 1)
    steps, _, score = drive(tiny_world(scene), task, scene, 1, disturb=drop_once, mistakes=False)
    assert score.success
    assert labels(steps).count(f"Grasp the {task.target}") == 2


def test_what_is_pushed_away_is_followed(tiny_world):
    def push(cycle, world, steps):
        if cycle == 6:
            world.at[task.target][:2] += [0.04, -0.05]

    scene, task = make_task("pick-up", 2)
    _, _, score = drive(tiny_world(scene), task, scene, 2, disturb=push, mistakes=False)
    assert score.success


def test_closes_where_something_stops_the_way_down(tiny_world):
    class Blocked(tiny_world):
        def servo(self, row, seconds):
            result = super().servo(row, seconds)
            self.ee[2] = max(self.ee[2], self.floor if not self.held else 0.0)
            return result

    scene, task = make_task("pick-up", 2)
    world = Blocked(scene)
    world.floor = world.at[task.target][2] + 0.03
    steps, _, score = drive(world, task, scene, 2, mistakes=False)
    assert score.success
    assert [step.phase for step in steps].count("descend") < 20


def test_gives_up_on_what_cannot_be_grasped(tiny_world):
    scene, task = make_task("pick-up", 3)
    world = tiny_world(scene)
    world._inside = lambda: ""
    steps, _, score = drive(world, task, scene, 3, cycles=1000)
    assert len(steps) < 1000
    assert not score.success


def test_path_and_speed_vary_with_the_seed_and_only_with_it(tiny_world):
    scene, task = make_task("pick-and-place", 4)
    runs = [drive(tiny_world(scene), task, scene, seed, mistakes=False)[1] for seed in range(8)]
    again = drive(tiny_world(scene), task, scene, 0, mistakes=False)[1]
    assert np.array_equal([state.ee for state in again], [state.ee for state in runs[0]])
    assert len({len(states) for states in runs}) >= 4
    early = np.array([states[4].ee[:3] for states in runs])
    assert early.std(axis=0).max() > 0.01


def test_chunks_stay_within_a_subtask_and_solve_the_task(tiny_world):
    for seed in range(20):
        scene, task = make_task("pick-place-lift", seed)
        world = tiny_world(scene)
        expert = Expert(task, scene, seed, grip_cycles=4)
        progress = Progress(task, world.state())
        reached = [expert.current(world.state())]
        for _ in range(80):
            chunk = expert.chunk(world.state())
            if not chunk:
                break
            assert len({step.subtask for step in chunk}) == 1
            assert expert.subtasks.index(chunk[0].subtask) == reached[-1]
            for step in chunk:
                world.servo(step.row, 0.2)
                progress.update(world.state())
            reached.append(expert.current(world.state()))
        assert progress.score.success
        assert reached[0] == 0
        assert reached[-1] == len(expert.subtasks)


def test_asking_for_the_current_subtask_changes_nothing(tiny_world):
    scene, task = make_task("pick-and-place", 3)
    runs = []
    for curious in (False, True):
        world = tiny_world(scene)
        expert = Expert(task, scene, 3, grip_cycles=4)
        rows = []
        while (step := expert.next(world.state())) is not None and len(rows) < 200:
            rows.append(step.row)
            world.servo(step.row, 0.2)
            if curious:
                expert.current(world.state())
        runs.append(rows)
    assert np.array_equal(*runs)


def test_a_chunk_that_was_cut_short_before_the_fingers_closed_is_no_miss(tiny_world):
    scene, task = make_task("pick-up", 3)
    world = tiny_world(scene)
    expert = Expert(task, scene, 3, grip_cycles=4, mistakes=False)
    cut = 0
    for _ in range(40):
        chunk = expert.chunk(world.state())
        if not chunk:
            break
        if len(chunk) > 1 and chunk[-1].phase == "close" and cut < 2:
            cut += 1
            chunk = chunk[:1]
        assert chunk[0].phase != "back off"
        for step in chunk:
            world.servo(step.row, 0.2)
    assert cut == 2
    assert world.state().objects[task.target].held
