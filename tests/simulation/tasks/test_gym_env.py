import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vlm2vla.errors import ActionRefusedError, ConfigError
from vlm2vla.simulation.expert import Expert
from vlm2vla.simulation.gym_env import StretchTableEnv
from vlm2vla.simulation.recorder import GAIN, GRIP_CYCLES, STEP_M
from vlm2vla.simulation.tasks import make_task


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    env = StretchTableEnv("pick-up", image_px=64, cache=tmp_path_factory.mktemp("meshes"), render_mode="rgb_array")
    yield env
    env.close()


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_gymnasiums_own_checker_is_content(env):
    check_env(env, skip_render_check=True)


def test_equal_seeds_and_actions_give_equal_observations(env):
    runs = []
    for _ in range(2):
        first, _ = env.reset(seed=4)
        seen = [first["state"]]
        for _ in range(5):
            observation, *_ = env.step(np.array([0.02, 0.01, -0.01, 0, 0, 0, 1], dtype=np.float32))
            seen.append(observation["state"])
        runs.append((np.array(seen), observation["external"], observation["instruction"]))
    assert np.array_equal(runs[0][0], runs[1][0])
    assert np.array_equal(runs[0][1], runs[1][1])
    assert runs[0][2] == runs[1][2]
    assert np.linalg.norm(runs[0][0][-1] - runs[0][0][0]) > 0.02


def test_rewards_add_up_to_the_partial_credit_and_success_ends_the_episode(env):
    scene, task = make_task("pick-up", 5)
    env.reset(seed=5)
    expert = Expert(task, scene, 5, step_m=STEP_M, gain=GAIN, grip_cycles=GRIP_CYCLES, mistakes=False)
    total, ended = 0.0, False
    for _ in range(200):
        step = expert.next(env.world_state())
        _, reward, ended, cut, info = env.step(step.row.astype(np.float32))
        total += reward
        if ended or cut:
            break
    assert ended
    assert info["is_success"]
    assert total == pytest.approx(1.0)


def test_an_action_outside_the_space_moves_nothing(env):
    env.reset(seed=1)
    before = env.world_state().ee.copy()
    for bad in (np.full(7, np.nan), np.zeros(6), [0.2, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0.1, 0, 0, 1], "forward"):
        with pytest.raises(ActionRefusedError):
            env.step(bad)
    assert np.array_equal(env.world_state().ee, before)


def test_an_episode_is_cut_after_max_steps(env):
    env.reset(seed=1)
    env._max_steps = 3
    hold = np.array([0, 0, 0, 0, 0, 0, 1], dtype=np.float32)
    assert [env.step(hold)[3] for _ in range(3)] == [False, False, True]
    env._max_steps = 250


def test_made_by_name():
    env = gymnasium.make("vlm2vla/StretchTable-v0", family="pick-and-place", disable_env_checker=True)
    assert isinstance(env.unwrapped, StretchTableEnv)
    env.close()


def test_unknown_family_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'pick-up'"):
        StretchTableEnv("pick-upp")
