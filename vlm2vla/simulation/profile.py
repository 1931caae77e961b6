"""How a joint gets from here to there: speed and acceleration within bounds. Pure numbers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SpeedLimit:
    """Largest speed and acceleration of a joint, m/s and m/s2 (rad for joints that turn)."""

    speed: float
    acceleration: float


def trapezoid(start: float, goal: float, limit: SpeedLimit, period_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions [N] and velocities [N], one per `period_s`, that end exactly at `goal` at rest; empty when there."""
    way = abs(goal - start)
    if way < 1e-9:
        return np.empty(0), np.empty(0)
    peak = min(limit.speed, np.sqrt(way * limit.acceleration))
    ramp = peak / limit.acceleration
    cruise = way / peak - ramp
    total = cruise + 2 * ramp
    times = np.arange(1, int(np.ceil(total / period_s - 1e-9)) + 1) * period_s
    times[-1] = total
    rising = np.minimum(times, ramp)
    falling = np.maximum(times - ramp - cruise, 0.0)
    flat = np.clip(times - ramp, 0.0, cruise)
    done = limit.acceleration * rising**2 / 2 + peak * flat + peak * falling - limit.acceleration * falling**2 / 2
    speed = limit.acceleration * (rising - falling)
    sign = np.sign(goal - start)
    positions = start + sign * done
    positions[-1] = goal
    speed[-1] = 0.0
    return positions, sign * speed


def together(
    starts: np.ndarray, goals: np.ndarray, limits: tuple[SpeedLimit, ...], period_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities [N, K] of K joints that start at once; each waits at its goal for the slowest."""
    paths = [trapezoid(a, b, limit, period_s) for a, b, limit in zip(starts, goals, limits, strict=True)]
    longest = max((len(positions) for positions, _ in paths), default=0)
    positions = np.tile(np.asarray(goals, dtype=np.float64), (longest, 1))
    velocities = np.zeros((longest, len(paths)))
    for joint, (path, speed) in enumerate(paths):
        positions[: len(path), joint] = path
        velocities[: len(path), joint] = speed
    return positions, velocities


def blend(
    starts: np.ndarray,
    goals: np.ndarray,
    speeds: np.ndarray,
    limits: np.ndarray,
    seconds: float,
    period_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities [N, K] over exactly `seconds`, on from the velocities `speeds` [K] and without a rest.

    Goals that are too far for the time are cut at `limits` [K] (speeds). Ends at the mean speed of the way, so that
    equal rows after one another make an even motion.
    """
    count = max(1, round(seconds / period_s))
    way = np.clip(goals - starts, -limits * seconds, limits * seconds)
    mean = way / seconds
    share = (np.arange(1, count + 1) / count)[:, None]
    # Cubic with given ends: starts, speeds -> starts + way, mean.
    bend = seconds * (speeds - mean)
    positions = starts + way * share + bend * share * (1 - share) ** 2
    velocities = mean + bend / seconds * (1 - share) * (1 - 3 * share)
    return positions, velocities
