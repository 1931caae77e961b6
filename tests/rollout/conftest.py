"""A robot that only calculates, driven by a policy that says what the test wants."""

import pytest

from vlm2vla.policy import Script, ScriptedPolicy, ScriptedVerifier
from vlm2vla.robot.scripted import HandClock, ScriptedRobot
from vlm2vla.rollout import (
    Trace,
    drive,
    record,
)

GRASP = Script("move forward, then close the gripper", ("[[4.0, 0.0, 0.0, 1], [0.0, 0.0, 0.0, 0]]",))
LIFT = Script("move up", ("[[0.0, 0.0, 3.0, 0]]",))


@pytest.fixture
def robot() -> ScriptedRobot:
    return ScriptedRobot(clock=HandClock(), speed_m_s=0.1)


def run(robot, cycles=(GRASP, LIFT), subtasks=("Grasp the cube", "Lift the cube"), verdicts=(True,), **settings):
    policy = settings.pop("policy", None) or ScriptedPolicy(subtasks, cycles)
    trace = Trace("pick up the cube", robot.embodiment, policy.name)
    events = drive(robot, policy, ScriptedVerifier(verdicts), trace.instruction, **settings)
    return list(record(events, trace)), trace
