"""The simulated Stretch in the `gymnasium` convention, for people who come with their own policy.

    env = StretchTableEnv("pick-and-place")
    observation, info = env.reset(seed=3)
    observation, reward, terminated, truncated, info = env.step(action)

One step is 0.2 s. Equal seeds and actions give equal observations. It knows nothing of the policies of this library.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from vlm2vla.config import did_you_mean
from vlm2vla.errors import ActionRefusedError, ConfigError
from vlm2vla.simulation.cameras import CAMERAS, Camera
from vlm2vla.simulation.instructions import alphabet
from vlm2vla.simulation.recorder import RATE_HZ, follow
from vlm2vla.simulation.scenes import Scene
from vlm2vla.simulation.success import Progress
from vlm2vla.simulation.tasks import FAMILIES, Task, make_task
from vlm2vla.simulation.world import World, WorldState

_LONGEST_INSTRUCTION = 200
_STEP_M, _STEP_RAD = 0.05, 0.2


class StretchTableEnv(gymnasium.Env):
    """A Stretch RE1 at a table with one task per episode.

    Observation: one uint8 image [h, w, 3] per camera under its name, "state" [7] (x y z, roll pitch yaw, gripper
    opening; metres, radians, manipulation frame), "instruction" (text).
    Action [7]: dx dy dz (at most 5 cm), droll dpitch (always 0: the robot has no such joints), dyaw (at most 0.2 rad),
    gripper command 1 open to 0 closed.
    Reward: gain in partial credit, so that an episode's sum is the partial credit at its end. `terminated` on success,
    `truncated` after `max_steps`. `info` holds "score", "is_success", "task".

    Args:
        family: One of `tasks.FAMILIES`.
        held_out: Word instructions in ways that no recording is worded.
        max_steps: Steps of 0.2 s until an episode is cut.
        image_px: Longer side of images.
        cameras: Which images to render; fewer are faster.
        render_mode: "rgb_array": `render` returns the first camera's image.
        cache: Folder of decimated meshes.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": int(RATE_HZ)}

    def __init__(
        self,
        family: str = "pick-up",
        *,
        held_out: bool = False,
        max_steps: int = 250,
        image_px: int = 224,
        cameras: Sequence[str] = tuple(CAMERAS),
        render_mode: str | None = None,
        cache: Path | None = None,
    ):
        if family not in FAMILIES:
            raise ConfigError(f"no task family {family!r}; {did_you_mean(family, FAMILIES)}")
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode is None or 'rgb_array', not {render_mode!r}")
        self.render_mode = render_mode
        self._family, self._held_out, self._max_steps = family, held_out, max_steps
        self._cameras = tuple(cameras)
        self._open: Callable[[Scene], World] = lambda scene: World(scene, cache=cache, image_px=image_px)
        self._world: World | None = None
        self._task: Task | None = None
        self._progress: Progress | None = None
        self._steps = 0
        unknown = [camera for camera in self._cameras if camera not in CAMERAS]
        if unknown:
            raise ConfigError(f"no camera {unknown[0]!r}; {did_you_mean(unknown[0], CAMERAS)}")
        self.observation_space = spaces.Dict(
            {
                **{name: spaces.Box(0, 255, _shape(CAMERAS[name], image_px), np.uint8) for name in self._cameras},
                "state": spaces.Box(-np.inf, np.inf, (7,), np.float64),
                "instruction": spaces.Text(_LONGEST_INSTRUCTION, charset=alphabet()),
            }
        )
        reach = np.array([_STEP_M] * 3 + [0.0, 0.0, _STEP_RAD], dtype=np.float32)
        self.action_space = spaces.Box(
            np.append(-reach, np.float32(0)), np.append(reach, np.float32(1)), dtype=np.float32
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode. `seed` chooses scene, objects and words; without one they are drawn.

        Args:
            seed: Any whole number from 0; equal ones give equal episodes.
            options: Not used.
        """
        super().reset(seed=seed)
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        scene, self._task = make_task(self._family, number, held_out=self._held_out)
        if self._world is None:
            self._world = self._open(scene)
        self._world.reset(scene)
        state = self._world.state()
        self._progress = Progress(self._task, state)
        self._steps = 0
        return self._observation(state), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carry out one action for 0.2 s.

        Raises:
            RobotError: The simulator broke.
        ActionRefusedError: Not [7] finite numbers inside the action space; nothing moved.
            ConfigError: `reset` was not called.
        """
        if self._world is None or self._progress is None:
            raise ConfigError("call reset() before step()")
        space = self.action_space
        try:
            row = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError):
            row = np.empty(0)
        inside = row.shape == (7,) and bool(np.all((row >= space.low - 1e-6) & (row <= space.high + 1e-6)))
        if not inside:
            raise ActionRefusedError(f"an action is [7] numbers inside {space}, not {action!r}", rule="action space")
        before = self._progress.score.partial
        follow(self._world, row)
        state = self._world.state()
        score = self._progress.update(state)
        self._steps += 1
        truncated = self._steps >= self._max_steps and not score.success
        return self._observation(state), score.partial - before, score.success, truncated, self._info()

    def world_state(self) -> WorldState:
        """The truth of the simulator, which no policy on a real robot would have.

        Raises:
            ConfigError: `reset` was not called.
        """
        if self._world is None:
            raise ConfigError("call reset() first")
        return self._world.state()

    def render(self) -> np.ndarray | None:
        """[h, w, 3] uint8 of the first camera, in render mode "rgb_array"."""
        if self.render_mode != "rgb_array" or self._world is None:
            return None
        return self._image(next(iter(self._cameras or CAMERAS)))

    def close(self) -> None:
        """Let go of the simulator."""
        if self._world is not None:
            self._world.close()
            self._world = None

    def _observation(self, state: WorldState) -> dict[str, Any]:
        return {
            **{camera: self._image(camera) for camera in self._cameras},
            "state": np.array(state.ee, dtype=np.float64),
            "instruction": self._task.instruction,
        }

    def _info(self) -> dict[str, Any]:
        score = self._progress.score
        return {"score": asdict(score), "is_success": score.success, "task": asdict(self._task)}

    def _image(self, camera: str) -> np.ndarray:
        return np.array(self._world.picture(camera))


def _shape(camera: Camera, px: int) -> tuple[int, int, int]:
    """[h, w, 3] of an upright picture."""
    height, width = (round(px * share) for share in camera.shape)
    return (width, height, 3) if camera.turned % 2 else (height, width, 3)


gymnasium.register(id="vlm2vla/StretchTable-v0", entry_point="vlm2vla.simulation.gym_env:StretchTableEnv")
