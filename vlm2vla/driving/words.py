"""Beside every number what it says in words, and what the safety rules say of a chunk: JSON values for a page. Pure."""

from typing import Any

import numpy as np

from vlm2vla.errors import ActionParseError, AnnotationError
from vlm2vla.language import directions_of, find_directions, measure
from vlm2vla.policy import Driving
from vlm2vla.robot import Observation
from vlm2vla.robot.safety import Decision, Rules, Situation
from vlm2vla.rollout.loop import seven

JSON = dict[str, Any]


def row_says(row: np.ndarray) -> str:
    """[7] one row -> "forward 1.0 cm, down 2.5 cm, gripper open"."""
    return f"{motion_says(row[:6])}, gripper {'open' if row[6] >= 0.5 else 'closed'}"


def motion_says(delta: np.ndarray) -> str:
    """[6] a motion in words with numbers; rotations only where there are any."""
    try:
        return measure(delta if np.any(delta[3:6]) else delta[:3])
    except AnnotationError:  # not finite
        return "no motion that has words"


def chunk_view(rows: np.ndarray, plan: str) -> JSON:
    """Rows [H, 7] with what each and all of them say, and whether the plan says the same."""
    total = rows[:, :6].sum(axis=0) if len(rows) else np.zeros(6)
    return {
        "rows": np.round(rows, 5).tolist(),
        "says": [row_says(row) for row in rows],
        "numbers": motion_says(total),
        "plan_agrees": plan_agrees(plan, rows),
    }


def plan_agrees(plan: str, rows: np.ndarray) -> bool | None:
    """Whether no direction that the plan names is against the motion; None when it names none."""
    try:
        named = {(way.axis, way.sign) for way in find_directions(plan)}
    except (ActionParseError, AnnotationError):
        return None
    if not named or not len(rows):
        return None
    ways = {(way.axis, way.sign) for row in rows for way in directions_of(row[:6])}
    ways |= {(way.axis, way.sign) for way in directions_of(rows[:, :6].sum(axis=0))}
    return all((axis, -sign) not in ways or (axis, sign) in ways for axis, sign in named)


def judge(rows: np.ndarray, rules: Rules, observation: Observation, age_s: float = 0.0) -> list[Decision]:
    """What the rules would say of a chunk [H, 4 or 7] that begins where the robot was seen."""
    return list(rules.judge_chunk(seven(rows), Situation(observation.ee, age_s)))


def judged_view(decision: Decision) -> JSON:
    """One decision of the safety rules."""
    return {
        "verdict": decision.verdict,
        "rule": decision.rule,
        "message": decision.message,
        "action": None if decision.action is None else np.round(decision.action, 5).tolist(),
    }


def flags_of(decisions: list[Decision], rows: int) -> list[str]:
    """What a person should look at before a chunk is carried out."""
    flags = [
        f"row {number}: {decision.message}"
        for number, decision in enumerate(decisions, 1)
        if decision.verdict != "pass"
    ]
    if len(decisions) < rows:
        flags.append(f"rows {len(decisions) + 1} to {rows} are never reached")
    return flags


def driving_view(driving: Driving) -> JSON:
    """Where a rollout is."""
    return {
        "instruction": driving.instruction,
        "subtasks": list(driving.subtasks),
        "index": driving.index,
        "subtask": driving.subtask,
        "plan": driving.plan,
        "cycle": driving.cycle,
    }


def pose_view(observation: Observation) -> JSON:
    """Time, end-effector and joints."""
    return {
        "time_s": round(observation.time_s, 4),
        "ee": np.round(observation.ee, 5).tolist(),
        "joints": {name: round(float(value), 5) for name, value in observation.joints.items()},
    }
