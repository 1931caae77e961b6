"""Labels of a rollout: what was said word for word, as long as it is true to what was carried out."""

from dataclasses import replace

import pytest

from tests.rollout.conftest import run
from vlm2vla.annotation.checks import check
from vlm2vla.language import form
from vlm2vla.policy import ChunkReady, Script, ScriptedPolicy, ScriptedVerifier
from vlm2vla.robot.scripted import HandClock, ScriptedRobot
from vlm2vla.rollout import (
    Trace,
    drive,
    record,
)
from vlm2vla.types import ActionChunk

ROWS = {"up": "[0.0, 0.0, 2.0, 1]", "down": "[0.0, 0.0, -2.0, 1]"}


def test_labels_hold_what_was_carried_out_of_longer_chunks(robot):
    class Cut(ScriptedPolicy):
        """Carries out three rows of each chunk, as a policy does that looks again soon."""

        def chunk(self, driving, observation):
            for event in super().chunk(driving, observation):
                cut = isinstance(event, ChunkReady)
                yield replace(event, chunk=ActionChunk(event.chunk.rows[:3])) if cut else event

    up, down = (Script(f"move {way}", (f"[{', '.join([row] * 4)}]",)) for way, row in ROWS.items())
    cycles = [down if number % 2 else up for number in range(21)]
    _, trace = run(robot, policy=Cut(("Lift",), cycles), verdicts=(False,) * 20 + (True,))
    annotated = trace.annotated("rows:0.5cm")  # 63 rows were carried out, 84 were said: more than a text may have
    assert [subtask.chunk.count("[") - 1 for subtask in annotated.subtasks] == [63]
    assert [finding for finding in check(annotated, trace.episode()) if finding.severity == "error"] == []
    _, alone = run(robot, policy=Cut(("Lift",), (up,)))
    assert alone.annotated("rows:0.5cm").subtasks[0].chunk.count("[") - 1 == 3


class Watched(HandClock):
    """Somebody looks while time passes, every fifth of a second."""

    look, looked_s = None, 0.0

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.look and self.now() - self.looked_s >= 0.2:
            self.looked_s = self.now()
            self.look()


def labelled(rows: str, rate_hz: float, form: str = "rows:0.5cm", **faults):
    """The only label of a rollout of that chunk, and what the checks find wrong with it."""
    clock = Watched()
    robot = ScriptedRobot(clock=clock, speed_m_s=0.05)
    robot.fail(**faults)
    policy = ScriptedPolicy(("Reach",), (Script("move forward", (rows,)),))
    trace = Trace("reach", robot.embodiment, policy.name, rate_hz)
    for _ in record(drive(robot, policy, ScriptedVerifier(), "reach"), trace):
        clock.look = (lambda: trace.sample(robot.observe())) if rate_hz else None
    annotated, episode = trace.annotated(form), trace.episode()
    (subtask,) = annotated.subtasks
    return subtask.chunk, [finding.code for finding in check(annotated, episode) if finding.severity == "error"]


@pytest.mark.parametrize("rate_hz", [0.0, 5.0])
@pytest.mark.parametrize(
    ("said", "done", "faults"),
    [
        ("[[8.0, 0.0, 0.0, 1], [4.0, 0.0, 0.0, 1]]", "[[5.0, 0.0, 0.0, 1], [4.0, 0.0, 0.0, 1]]", {}),  # 5 cm at most
        ("[[3.9, 0.0, 0.0, 1]]", "[[4.0, 0.0, 0.0, 1]]", {}),  # what the form says of it
        ("[[4.0, 0.0, 0.0, 0], [4.0, 0.0, 0.0, 0]]", "[[1.5, 0.0, 0.0, 0]]", {"contact_m": 0.015}),
        ("[[4.0, 0.0, 0.0, 1]]", "[[4.0, 0.0, 0.0, 1]]", {"contact_m": 0.039}),
    ],
)
def test_labels_are_true_where_rules_or_contacts_cut_a_motion_short(said, done, faults, rate_hz):
    assert labelled(said, rate_hz, **faults) == (done, [])


def test_labels_are_true_at_the_edge_of_reach_and_in_other_forms(robot):
    rows = "[" + ", ".join(["[4.0, 0.0, 0.0, 1]"] * 20) + "]"
    text, errors = labelled(rows, 0.0)
    assert errors == []
    high = robot.embodiment.ee_limits[0][1]
    assert form("rows:0.5cm").parse(text).translation[0] == pytest.approx(high - 0.5, abs=0.003)  # it began at 0.5
    assert labelled("[[8.0, 0.0, 0.0, 1]]", 0.0, "sentence:0.5cm")[0] == "with the gripper open, move forward 5 cm"
    assert labelled("[[4.5, 0.0, 0.0, 1]]", 0.0, "rows:1cm")[0] == "[[4.5, 0.0, 0.0, 1]]"  # true, so word for word


def test_many_cycles_of_one_subtask_are_said_as_they_were_carried_out(robot):
    far = Script("move forward", ("[[6.0, 0.0, 0.0, 1]]",))
    back = Script("move back", ("[[-6.0, 0.0, 0.0, 1]]",))
    _, trace = run(robot, cycles=(far, back, far), subtasks=("Reach",), verdicts=(False, False, True))
    annotated = trace.annotated("rows:0.5cm")
    assert [subtask.chunk for subtask in annotated.subtasks] == [
        "[[5.0, 0.0, 0.0, 1], [-5.0, 0.0, 0.0, 1], [5.0, 0.0, 0.0, 1]]"
    ]
    assert [finding for finding in check(annotated, trace.episode()) if finding.severity == "error"] == []
