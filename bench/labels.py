"""Verbalise and check: the kinematic annotator and all checks on synthetic Bridge-like episodes, on every core."""

import os
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from vlm2vla.annotation.checks import check, displacement_error
from vlm2vla.annotation.kinematic import KinematicAnnotator
from vlm2vla.config import LanguageConfig
from vlm2vla.embodiment import WIDOWX
from vlm2vla.types import Episode, Source

EPISODES, STEPS, GOAL_EPISODES, GOAL_MINUTES = 1_000, 38, 60_000, 10


def synthetic_episode(number: int) -> Episode:
    """Approach, grasp, carry, release, with noise of the size that Bridge has."""
    rng = np.random.default_rng(number)
    corners = np.array([[0.2, 0.0, 0.2], [0.32, 0.06, 0.08], [0.32, 0.06, 0.08], [0.28, -0.1, 0.2], [0.28, -0.1, 0.1]])
    corners = corners + rng.normal(0, 0.02, corners.shape)
    at = np.linspace(0, len(corners) - 1, STEPS)
    xyz = np.column_stack([np.interp(at, range(len(corners)), corners[:, axis]) for axis in range(3)])
    states = np.zeros((STEPS, 7))
    states[:, :3] = xyz + rng.normal(0, 0.001, xyz.shape)
    states[:, 3:6] = rng.normal(0, 0.02, (STEPS, 3))
    closed = (np.arange(STEPS) > 14) & (np.arange(STEPS) < 34)
    states[:, 6] = np.where(closed, 0.1, 1.0)
    commands = np.zeros_like(states)
    commands[:-1, :6] = np.diff(states[:, :6], axis=0)
    commands[:, 6] = np.where(closed, 0.0, 1.0)
    return Episode(
        id=f"bench-{number:06d}",
        dataset="bench",
        source=Source("bridge-rlds", "", {"offset": 0, "crc": 0, "cameras": {}}),
        instruction="put carrot on plate",
        embodiment=WIDOWX,
        rate_hz=5.0,
        states=states,
        commands=commands,
    )


def label(numbers: range) -> int:
    """Annotate and check; returns how many findings are errors."""
    annotator = KinematicAnnotator(LanguageConfig())
    errors = 0
    for number in numbers:
        episode = synthetic_episode(number)
        annotated = annotator.annotate(episode)
        errors += sum(finding.severity == "error" for finding in check(annotated, episode))
        displacement_error(annotated, episode)
    return errors


def main() -> None:
    """Print the time of 1,000 episodes, and what that means for 60,000."""
    workers = os.cpu_count() or 1
    parts = [range(start, EPISODES, workers) for start in range(workers)]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(label, [range(1)] * workers))  # imports are not what is measured
        start = time.perf_counter()
        errors = sum(pool.map(label, parts))
        seconds = time.perf_counter() - start
    minutes = seconds * GOAL_EPISODES / EPISODES / 60
    print(
        f"{EPISODES} episodes of {STEPS} steps in {seconds:.1f} s on {workers} cores ({errors} errors found): "
        f"{GOAL_EPISODES} in {minutes:.1f} min, {GOAL_MINUTES / minutes:.1f}x faster than the aim of {GOAL_MINUTES} min"
    )


if __name__ == "__main__":
    main()
