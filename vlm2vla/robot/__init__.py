"""What moves: one small protocol for simulated, real and remote robots, and the safety rules in front of them."""

from vlm2vla.robot.protocol import ActionResult, Observation, Outcome, Robot, RobotStatus
from vlm2vla.robot.safe_robot import SafeRobot, clock_now
from vlm2vla.robot.safety import Box, Decision, Rules, SafetyConfig, Situation, table_box, tables

__all__ = [
    "ActionResult",
    "Box",
    "Decision",
    "Observation",
    "Outcome",
    "Robot",
    "RobotStatus",
    "Rules",
    "SafeRobot",
    "SafetyConfig",
    "Situation",
    "clock_now",
    "table_box",
    "tables",
]
