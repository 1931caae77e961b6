"""Synthetic episodes from a path and gripper commands, and the real ones where they are present."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from vlm2vla.embodiment import WIDOWX, Embodiment
from vlm2vla.types import Episode, Source

Move = tuple[int, Sequence[float]]
"""Steps, and where the arm goes in them: dx dy dz in cm, and optionally droll dpitch dyaw in degrees."""


@pytest.fixture
def episode_factory() -> Callable[..., Episode]:
    """Make an episode from moves and gripper changes."""

    def make(
        moves: Sequence[Move],
        gripper: Sequence[tuple[int, int]] = (),
        *,
        instruction: str = "put carrot on plate",
        opened: bool = True,
        noise_mm: float = 0.0,
        rate_hz: float = 5.0,
        robot: Embodiment = WIDOWX,
        seed: int = 0,
    ) -> Episode:
        """`gripper`: (step, 1 open or 0 closed) commands that hold from that step on."""
        steps = 1 + sum(count for count, _ in moves)
        states = np.zeros((steps, 7))
        states[0, :3] = (0.28, 0.0, 0.12)
        at = 0
        for count, delta in moves:
            full = np.zeros(6)
            full[: len(delta)] = delta
            full[:3] /= 100.0
            full[3:] = np.radians(full[3:])
            for _ in range(count):
                states[at + 1, :6] = states[at, :6] + full / count
                at += 1
        states[1:, :3] += np.random.default_rng(seed).normal(0.0, noise_mm / 1000.0, (steps - 1, 3))
        commands = np.zeros((steps, 7))
        commands[:-1, :6] = np.diff(states[:, :6], axis=0)
        commands[:, 6] = float(opened)
        for step, bit in gripper:
            commands[step:, 6] = bit
        # The fingers follow the command one step later and take three steps; closed on an object they stop at 0.4.
        opening = wanted = float(opened)
        for step in range(steps):
            opening += float(np.clip(wanted - opening, -0.2, 0.3))
            states[step, 6] = opening
            wanted = 1.0 if commands[step, 6] else 0.4
        return Episode(
            id=f"synthetic-{seed}",
            dataset="synthetic",
            source=Source("synthetic", ""),
            instruction=instruction,
            embodiment=robot,
            rate_hz=rate_hz,
            states=states,
            commands=commands,
        )

    return make


@pytest.fixture
def pick_and_place(episode_factory) -> Episode:
    """38 steps, 7.4 s: over the carrot, down, grasp, up, to the plate, down, release, away."""
    moves = [
        (7, (9, 4, 0)), (5, (0.5, 0, -6)), (4, (0, 0, 0)), (5, (0, 0, 7)),
        (7, (-2, -12, 0)), (4, (0, 0, -5)), (3, (0, 0, 0)), (2, (0, 0, 3)),
    ]  # fmt: skip
    return episode_factory(moves, [(12, 0), (32, 1)], noise_mm=0.4)


@pytest.fixture(scope="session")
def bridge_episodes(shared_data) -> list[Episode]:
    """The 25 real episodes of 10 steps."""
    reading = pytest.importorskip("vlm2vla.trajectories")
    return list(reading.read(shared_data / "octo-bridge-rlds", on_error=_fail))


def _fail(error: Exception) -> None:
    raise error
