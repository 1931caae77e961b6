"""A verifier's verdicts against the simulator's truth."""

import pytest

from vlm2vla.policy import Verdict
from vlm2vla.rollout import RolloutConfig, SubtaskJudged, drive
from vlm2vla.rollout.expert import ExpertDriver
from vlm2vla.rollout.truth import Judge
from vlm2vla.simulation import World
from vlm2vla.simulation.expert import Expert
from vlm2vla.simulation.success import Progress
from vlm2vla.simulation.tasks import make_task

pytestmark = pytest.mark.slow


class Says:
    """A verifier that always says the same."""

    name = "made up"

    def __init__(self, done):
        self.done = done

    def verify(self, driving, before, after):
        return Verdict(self.done, "")


@pytest.fixture(scope="module")
def world():
    scene, _ = make_task("pick-and-place", 0)
    with World(scene, image_px=32) as made:
        yield made


def judged(world, verifier, seed=0, **settings):
    """The expert drives, somebody else judges: (counts, [(verdict, truth)], the judge)."""
    scene, task = make_task("pick-and-place", seed)
    world.reset(scene)
    progress = Progress(task, world.state())
    policy = ExpertDriver(Expert(task, scene, seed, mistakes=False), world.state)
    judge = Judge(task, scene, world.state, lambda: progress.update(world.state()).success)
    seen = []
    for event in drive(world.robot, policy, verifier or policy, task.instruction, config=RolloutConfig(**settings)):
        judge.see(event)
        if isinstance(event, SubtaskJudged):
            driving = event.driving
            seen.append((driving.index, event.verdict.done, judge.is_done(driving.subtasks, driving.index)))
    return judge, seen


def test_the_expert_is_right_about_its_own_subtasks(world):
    judge, seen = judged(world, None)
    assert [index for index, done, _ in seen if done] == [0, 1, 2, 3, 4]
    assert all(true for _, done, true in seen if done)
    assert judge.counts["true_done"] == 5
    assert judge.counts["false_done"] == judge.counts["unknown"] == 0
    # Let go on its place it counts as released; the expert draws the hand back first.
    assert {index for index, done, true in seen if done != true} <= {4}


def test_one_that_never_says_done_is_wrong_where_it_is_done(world):
    judge, seen = judged(world, Says(False), max_cycles=2)
    assert [true for _, _, true in seen] == [True, True]  # "Move to" is over, and stays over while the hand closes
    assert judge.counts == dict.fromkeys(judge.counts, 0) | {"false_not_done": 2}


def test_one_that_goes_on_too_early_is_found_out_and_other_lists_are_not_judged(world):
    scene, task = make_task("pick-and-place", 1)
    world.reset(scene)
    judge = Judge(task, scene, world.state, lambda: False)
    names = Expert(task, scene, 1).subtasks
    assert [judge.is_done(names, index) for index in range(5)] == [False] * 5
    assert judge.is_done(tuple(name.upper() for name in names), 0) is False
    assert judge.is_done((task.instruction,), 0) is None
    done = Judge(task, scene, world.state, lambda: True)
    assert done.is_done(names, 4) is True
