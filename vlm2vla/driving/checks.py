"""Is the robot ready to be driven: what a person goes through before the first motion. Pure, from a status."""

from typing import Any

from vlm2vla.robot import RobotStatus

JSON = dict[str, Any]
BATTERY_V = 10.5  # a Stretch stops charging its motors below about this


def preflight(
    status: RobotStatus | None,
    cameras: dict[str, dict[str, Any]],
    simulated: bool,
    confirmed: frozenset[str],
    table_m: float | None,
) -> list[JSON]:
    """One row per check; a run starts only when none is "bad" or "ask".

    Args:
        status: The newest one; None when the robot does not answer.
        cameras: State of every camera, see `Eyes.state`.
        simulated: Nothing real moves: nobody needs to clear the space.
        confirmed: What a person has said is so.
        table_m: Height of the table that the hand stays above; None when no table is known.
    """
    if status is None:
        return [_row("connected", "Connected", "bad", "The robot does not answer; check its computer and the network.")]
    rows = [_row("connected", "Connected", "ok", "The robot answers.")]
    rows.append(
        _row("homed", "Homed", "ok", "The joints know where they are.")
        if status.homed
        else _row("homed", "Homed", "bad", "Clear the space around the robot and run stretch_robot_home.py on it.")
    )
    rows.append(
        _row("runstop", "Run-stop", "bad", "The run-stop is pressed; release it at the robot.")
        if status.runstop
        else _row("runstop", "Run-stop", "ok", "Released.")
    )
    rows.append(_battery(status))
    rows.append(_cameras(cameras))
    rows.append(_table(table_m))
    rows.append(_space(simulated, confirmed))
    others = [problem for problem in status.problems if not (status.runstop and "run-stop" in problem.lower())]
    if not status.ready and status.homed and not status.runstop and others:
        rows[0] = _row("connected", "Connected", "bad", " ".join(others))
    return rows


def ready(rows: list[JSON]) -> str:
    """Why no run can start, or ""."""
    return " ".join(row["text"] for row in rows if row["state"] in ("bad", "ask"))


def _battery(status: RobotStatus) -> JSON:
    volts = status.battery_v
    if volts is None:
        return _row("battery", "Battery", "none", "This robot has no battery.")
    if volts < BATTERY_V:
        return _row("battery", "Battery", "bad", f"{volts:.1f} V: charge it first (at least {BATTERY_V} V).")
    return _row("battery", "Battery", "ok", f"{volts:.1f} V.")


def _cameras(cameras: dict[str, dict[str, Any]]) -> JSON:
    lost = [f"{name}: {state['lost']}" for name, state in cameras.items() if state["lost"]]
    if not cameras:
        return _row("cameras", "Cameras", "bad", "No camera; start the robot server with one.")
    if lost:
        return _row("cameras", "Cameras", "bad", "; ".join(lost))
    return _row("cameras", "Cameras", "ok", f"{', '.join(cameras)}: live.")


def _table(height_m: float | None) -> JSON:
    if height_m is None:
        text = "Its height is not known, so nothing keeps the hand out of it: start robot-server with --table-height-m."
        return _row("table", "Table", "none", text)
    return _row("table", "Table", "ok", f"The hand stays above it ({height_m * 100:.0f} cm).")


def _space(simulated: bool, confirmed: frozenset[str]) -> JSON:
    if simulated:
        return _row("space", "Space", "none", "Simulated: nothing real moves.")
    if "space" in confirmed:
        return _row("space", "Space", "ok", "You said that the space around the robot is clear.")
    text = "Look at the robot: is the space around it clear, and the run-stop within reach? Then say so."
    return _row("space", "Space", "ask", text)


def _row(name: str, title: str, state: str, text: str) -> JSON:
    return {"name": name, "title": title, "state": state, "text": text}
