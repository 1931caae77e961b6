"""What moves: one small protocol for simulated, real and remote robots, and the safety rules in front of them."""

from vlm2vla.robot.protocol import ActionResult, Observation, Outcome, Robot, RobotStatus

__all__ = ["ActionResult", "Observation", "Outcome", "Robot", "RobotStatus"]
