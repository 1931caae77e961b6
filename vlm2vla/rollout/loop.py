"""The loop: subtasks once, then per cycle plan, chunk, approval, rows through the safety rules, verdict.

A generator of events; whoever consumes it shows or records them. Whatever goes wrong, the robot ends still: refused
rows, a lost camera, a policy that raises, a consumer that stops listening.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from vlm2vla.errors import ConfigError, RobotError, VLM2VLAError
from vlm2vla.policy import (
    ChunkReady,
    Driving,
    GaveUp,
    PlanReady,
    Policy,
    PolicyEvent,
    SubtasksReady,
    Verdict,
    Verifier,
)
from vlm2vla.robot import Observation, Robot, clock_now
from vlm2vla.robot.safety import Rules, Situation
from vlm2vla.rollout.events import (
    ActionAsked,
    ActionDone,
    ChunkDecided,
    CycleBegan,
    End,
    Ended,
    Event,
    Observed,
    PolicySaid,
    SubtaskJudged,
)
from vlm2vla.rollout.gates import Approve, AutoGate, Decision, Gate, approval_key, same_state

log = logging.getLogger(__name__)

# Nothing is decided on a look that is older than this share of what the rules allow: acting on it takes time, too.
FRESH = 0.25


@dataclass(frozen=True)
class RolloutConfig:
    """How a rollout is run."""

    max_cycles: int = 40
    """Cycles of plan and chunk before the rollout ends as "out of cycles"."""
    approval_s: float = 30.0
    """A person's yes is void after this many seconds."""
    action_timeout_s: float = 10.0
    """One row may take this long."""

    def __post_init__(self):
        if self.max_cycles < 1 or self.approval_s <= 0 or self.action_timeout_s <= 0:
            raise ConfigError("max_cycles must be at least 1, approval_s and action_timeout_s above 0")


class _Over(Exception):
    """The rollout ends here."""

    def __init__(self, end: End, reason: str):
        super().__init__(reason)
        self.end: End = end


def drive(
    robot: Robot,
    policy: Policy,
    verifier: Verifier,
    instruction: str,
    *,
    rules: Rules | None = None,
    gate: Gate | None = None,
    config: RolloutConfig | None = None,
    stopped: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """Drive one task.

    Args:
        robot: What moves; nobody else may drive it meanwhile.
        policy: Writes subtasks, plans and chunks.
        verifier: Says when a subtask is done.
        instruction: The task in words.
        rules: Safety rules; the embodiment's own when None.
        gate: Who approves chunks; everything is approved when None.
        config: Limits.
        stopped: Set from outside to end the rollout; the caller stops the robot itself, at once.
        clock: Seconds, for approvals.

    Yields:
        Events; the last one is `Ended`, unless the consumer closes the generator before (then the robot is stopped).
    """
    run = _Run(robot, policy, verifier, rules or Rules(robot.embodiment), gate or AutoGate(), config or RolloutConfig())
    run.stopped, run.clock = stopped or threading.Event(), clock
    run.driving = Driving(instruction)
    end: tuple[End, str] = ("stopped", "nobody listened any more")
    try:
        yield from run.task()
        end = ("finished", "the verifier called every subtask done")
    except _Over as over:
        end = (over.end, str(over))
    except VLM2VLAError as error:
        end = ("error", str(error))
    except Exception as error:
        log.exception("rollout failed")
        end = ("error", f"{type(error).__name__}: {error}")
    finally:
        if end[0] != "finished":
            run.stop()
    yield Ended(end[0], end[1], run.driving)


class _Run:
    """State of one rollout."""

    def __init__(
        self, robot: Robot, policy: Policy, verifier: Verifier, rules: Rules, gate: Gate, config: RolloutConfig
    ):
        self.robot, self.policy, self.verifier = robot, policy, verifier
        self.rules, self.gate, self.config = rules, gate, config
        self.stopped = threading.Event()
        self.clock: Callable[[], float] = time.monotonic
        self.driving = Driving("")
        self.observation: Observation | None = None
        self.began: Observation | None = None  # what the current subtask began with
        self._acted: deque[float] = deque(maxlen=64)  # robot time of the last actions
        self._in_vain = 0  # cycles in a row that should have finished the subtask, and did not

    def task(self) -> Iterator[Event]:
        """The whole task."""
        self.check_stopped()
        self.observation = yield from self.look()
        yield from self.decompose()
        while self.driving.subtask:
            if self.driving.cycle >= self.config.max_cycles:
                raise _Over("out of cycles", f"not done after {self.config.max_cycles} cycles")
            yield from self.cycle()
            if 0 < getattr(self.policy, "back_after", 0) <= self._in_vain:
                yield from self.step_back()

    def decompose(self) -> Iterator[Event]:
        """Have the subtasks written, from what is seen now."""
        ready = yield from self.said(self.policy.subtasks(self.driving, self.observation), SubtasksReady)
        if not ready.texts:
            raise _Over("gave up", "the policy wrote no subtask")
        self.driving = Driving(self.driving.instruction, tuple(ready.texts), cycle=self.driving.cycle)

    def step_back(self) -> Iterator[Event]:
        """Take up the subtask before the one that cannot be finished: it was not done after all.

        There is none before the first one: then all of them are written anew.
        """
        self.began, self._in_vain = None, 0
        if self.driving.index:
            self.driving = replace(self.driving, index=self.driving.index - 1)
        else:
            yield from self.look_again()
            yield from self.decompose()

    def cycle(self) -> Iterator[Event]:
        """Plan, chunk, approval, rows, verdict."""
        self.check_stopped()
        yield from self.look_again()
        yield CycleBegan(self.driving)
        self.began = self.began or self.observation
        if not self.driving.plan:  # else a person has said one
            plan = yield from self.said(self.policy.plan(self.driving, self.observation), PlanReady)
            self.driving = self.driving.planned(plan.text)
            yield from self.look_again()
        before = self.observation
        chunk = yield from self.said(self.policy.chunk(self.driving, before), ChunkReady)
        decision = self.ask(chunk, before)
        yield ChunkDecided(self.driving, decision.go, decision.reason, decision.chunk)
        if not decision.go:
            self.go_on_from(decision.driving)
            self.observation = yield from self.look()
            return
        chunk = decision.chunk or chunk
        self.driving = self.driving.heading(goal_of(chunk.chunk.rows, before.ee))
        yield from self.rows(chunk, before)
        if chunk.later:
            verdict = Verdict(False, f"{chunk.later} more rows were written: look again first")
        else:
            verdict = self.verifier.verify(self.driving, self.began, self.observation)
        yield SubtaskJudged(self.driving, verdict)
        self._in_vain = 0 if verdict.done or chunk.later else self._in_vain + 1
        self.began = None if verdict.done else self.began
        self.driving = self.driving.next_cycle(verdict.done)

    def go_on_from(self, said: Driving | None) -> None:
        """The next cycle after a chunk that was not carried out: what a person said instead, or the same again."""
        following, self._in_vain = self.driving.next_cycle(False), 0
        if said is None:
            self.driving = following
            return
        if (said.subtasks, said.index) != (following.subtasks, following.index):
            self.began = None
        self.driving = replace(following, subtasks=said.subtasks, index=said.index, plan=said.plan)

    def rows(self, chunk: ChunkReady, decided_on: Observation) -> Iterator[Event]:
        """Carry out the rows one by one; a row that is refused or not reached ends the chunk."""
        previous: np.ndarray | None = None
        for number, row in enumerate(seven(chunk.chunk.rows)):
            self.check_stopped()
            now = clock_now(self.robot, self.observation.time_s)
            situation = Situation(
                ee=self.observation.ee,
                age_s=now - decided_on.time_s,
                recent_s=tuple(now - then for then in self._acted),
                previous=previous,
            )
            decision = self.rules.judge(row, situation)
            yield ActionAsked(number, row, decision)
            if decision.action is None:
                return
            result = self.robot.act(decision.action, timeout_s=self.config.action_timeout_s)
            self._acted.append(now)
            yield ActionDone(number, result)
            self.observation = yield from self.look()
            previous = decision.action
            if result.outcome in ("runstop", "fault", "timeout", "stopped"):
                end: End = "stopped" if result.outcome in ("runstop", "stopped") else "error"
                raise _Over(end, result.message or f"the robot answered {result.outcome}")
            if result.outcome != "reached":
                return

    def look(self) -> Iterator[Event]:
        """Observe; the observation is the generator's return value."""
        observation = self.robot.observe()
        yield Observed(observation)
        return observation

    def look_again(self) -> Iterator[Event]:
        """Observe anew when time has passed since the newest look: somebody thought, typed, or was asked."""
        age_s = clock_now(self.robot, self.observation.time_s) - self.observation.time_s
        if not 0 <= age_s <= FRESH * self.rules.config.max_age_s:
            self.observation = yield from self.look()

    def said(self, events: Iterator[PolicyEvent], wanted: type) -> Iterator[Event]:
        """Pass the policy's events on; its result is the generator's return value.

        Raises:
            _Over: The policy gave up: the robot holds still.
        """
        for event in events:
            self.check_stopped()
            yield PolicySaid(self.driving, event)
            if isinstance(event, GaveUp):
                raise _Over("gave up", event.reason)
            if isinstance(event, wanted):
                return event
        raise RobotError(f"the policy {self.policy.name!r} ended without {wanted.__name__}")

    def ask(self, chunk: ChunkReady, observation: Observation) -> Decision:
        """Ask the gate; a yes that came late, or for something else, is void."""
        key, asked_at = approval_key(chunk, observation), self.clock()
        question = Approve(key, self.driving, chunk.text, asked_at, self.config.approval_s, chunk, observation)
        decision = self.gate.decide(question)
        self.check_stopped()
        if not decision.go:
            return decision
        if decision.chunk is not None:
            chunk, asked_at = decision.chunk, max(asked_at, decision.asked_at or asked_at)
            key = approval_key(chunk, observation)
        if decision.key != key:
            return Decision(False, key, "the approval was for another action or robot state")
        if self.clock() - asked_at > question.expires_after_s:
            return Decision(False, key, "the approval came too late")
        if not same_state(observation, self.robot.observe()):
            return Decision(False, key, "the robot moved between the question and the approval")
        return decision

    def check_stopped(self) -> None:
        """End here when somebody asked for it."""
        if self.stopped.is_set():
            raise _Over("stopped", "stopped by the operator")

    def stop(self) -> None:
        """Leave the robot still, whatever happened."""
        with contextlib.suppress(Exception):
            if not self.robot.stop():
                log.error("%s did not confirm the stop", self.robot.name)


def goal_of(rows: np.ndarray, ee: np.ndarray) -> np.ndarray:
    """[7] where the rows of a chunk lead from the end-effector state `ee` [7]; the gripper as last commanded."""
    goal = np.array(ee, dtype=np.float64)
    if len(rows):
        full = seven(rows)
        goal[:6] += full[:, :6].sum(axis=0)
        goal[6] = full[-1, 6]
    return goal


def seven(rows: np.ndarray) -> np.ndarray:
    """[H, 4 or 7] -> [H, 7]."""
    if rows.shape[1] == 7:
        return rows
    return np.column_stack([rows[:, :3], np.zeros((len(rows), 3)), rows[:, 3]])
