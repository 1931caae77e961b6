"""Where a recording is cut."""

import numpy as np

from vlm2vla import motion
from vlm2vla.annotation.segmentation import headings, phases


def rows_of(episode):
    return motion.actions(episode)


def test_a_direction_holds_while_it_fades_and_another_is_only_a_little_stronger(episode_factory):
    # In the middle x makes 6 mm per 0.8 s: too slow to begin with, fast enough to stay; z is a little faster.
    episode = episode_factory([(8, (10, 0, 0)), (8, (1.2, 0, -1.7)), (8, (10, 0, 0))])
    assert set(headings(rows_of(episode)[:-1], 5.0)) == {1}


def test_a_much_stronger_direction_takes_over(episode_factory):
    episode = episode_factory([(8, (10, 0, 0)), (8, (1.2, 0, -6))])
    labels = headings(rows_of(episode)[:-1], 5.0)
    assert labels[0] == 1
    assert labels[-1] == -3


def test_a_grasp_ends_when_the_arm_sets_off_although_the_fingers_still_move(episode_factory):
    episode = episode_factory([(10, (0, 0, -8)), (3, (0, 0, 0)), (12, (0, 15, 3))], [(10, 0)])
    states = episode.states.copy()
    states[10:, 6] = np.linspace(1.0, 0.1, len(states) - 10)
    grasp = next(phase for phase in phases(rows_of(episode), states[:, 6], 5.0) if phase.event)
    assert (grasp.start, grasp.end) == (10, 13)


def test_a_grasp_lasts_until_the_fingers_have_closed(episode_factory):
    episode = episode_factory([(10, (0, 0, -8)), (6, (0, 0, 0)), (12, (0, 15, 3))], [(10, 0)])
    states = episode.states.copy()
    states[10:16, 6] = np.linspace(1.0, 0.3, 6)
    states[16:, 6] = 0.3
    grasp = next(phase for phase in phases(rows_of(episode), states[:, 6], 5.0) if phase.event)
    assert (grasp.start, grasp.end) == (10, 15)
