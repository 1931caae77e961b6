"""One run: the driving loop in a thread of its own, what happens in it as records, and all of it on disk meanwhile.

Knows one robot, one policy, one gate; not who drives and not what a page looks like.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vlm2vla.driving.event_log import EventLog
from vlm2vla.driving.gate import APPROVAL_S, VETO_S, Mode, PersonGate
from vlm2vla.driving.journal import Journal, now_iso
from vlm2vla.driving.policies import PolicyChoice, Wish
from vlm2vla.driving.reins import Reins
from vlm2vla.driving.robots import SAMPLE_S, Connected
from vlm2vla.driving.telling import Teller
from vlm2vla.driving.typing_line import TypingLine
from vlm2vla.driving.words import driving_view
from vlm2vla.policy import Driving
from vlm2vla.robot import Observation
from vlm2vla.rollout import Ended, Event, RolloutConfig, Trace, drive, record

if TYPE_CHECKING:
    from vlm2vla.simulation.success import Progress

log = logging.getLogger(__name__)
JSON = dict[str, Any]
MAX_CYCLES = 400


@dataclass(frozen=True)
class RunPlan:
    """What is driven.

    Attributes:
        id: Of the run.
        instruction: The task in words.
        mode: How much is asked.
        choice: The policy.
        operator: Who started it.
        episode: What is replayed, or "".
    """

    id: str
    instruction: str
    mode: Mode
    choice: PolicyChoice
    operator: str
    episode: str = ""


class Run:
    """A run that is under way, or over.

    Args:
        plan: What is driven.
        connected: The robot; nobody else drives it meanwhile.
        events: Where records go.
        folder: ROLLOUTS, where the run is kept.
        changed: Called when the state that a page shows has changed.
        approval_s, veto_s: How long a question is open, and the countdown of supervised mode.
    """

    def __init__(
        self,
        plan: RunPlan,
        connected: Connected,
        events: EventLog,
        folder: Any,
        changed: Callable[[], None],
        approval_s: float = APPROVAL_S,
        veto_s: float = VETO_S,
    ):
        self.plan, self.connected, self.events = plan, connected, events
        self.reins = Reins(connected.robot, self._sampled if connected.watchable else None, SAMPLE_S)
        self.line = TypingLine(self.reins.stopped, self._show)
        self.policy, self._verifier = plan.choice.make(Wish(connected, plan.instruction, self.line, plan.episode))
        self.gate = PersonGate(
            plan.mode, connected.rules, events.now, self._tell_gate, self.reins.stopped, veto_s=veto_s
        )
        self.ended: Ended | None = None
        self.truth: JSON | None = None
        self.driving = Driving(plan.instruction)
        self._approval_s, self._changed = approval_s, changed
        self._stop_reason = ""
        self._shown: tuple[Any, ...] = ()
        self._began, self._began_at = round(events.now(), 3), now_iso()
        self._trace = Trace(plan.instruction, connected.robot.embodiment, self.policy.name, connected.rate_hz)
        self._journal = Journal(folder, self._info())
        self._teller = Teller(events, self._journal, plan.id, connected.rules)
        self._progress = self._make_progress()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"run {plan.id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._teller.tell("run_began", run_info=self.view())
        self._thread.start()

    def stop(self, reason: str) -> bool:
        """End it with the robot still; True once the robot has confirmed. From any thread."""
        self.call_off(reason)
        return self.reins.halt()

    def call_off(self, reason: str) -> None:
        """Let nothing more begin, without asking the robot; a run that has not begun ends before it moves anything."""
        self._stop_reason = self._stop_reason or reason
        self.reins.stopped.set()
        self.gate.wake()
        self.line.wake()

    def join(self, timeout_s: float) -> bool:
        """Wait for its end, also of one that is about to begin; False when it is still under way."""
        return self._done.wait(timeout_s)

    @property
    def over(self) -> bool:
        """It has ended."""
        return self.ended is not None

    @property
    def newest(self) -> Observation | None:
        """The newest step of its recording."""
        return self._trace.observations[-1] if self._trace.observations else None

    @property
    def state(self) -> str:
        """In one word."""
        if self.over:
            return "ended"
        if self.reins.stopped.is_set():
            return "stopping"
        if self.gate.question is not None:
            return "held" if self.gate.held else "asking"
        return "typing" if self.line.waiting else "running"

    def view(self) -> JSON:
        """For a page."""
        question = self.gate.question
        return {
            "id": self.plan.id,
            "policy": self.plan.choice.name,
            "policy_title": self.plan.choice.title,
            "instruction": self.plan.instruction,
            "mode": self.gate.mode,
            "robot": self.connected.robot.name,
            "simulated": self.connected.robot.simulated,
            "steerable": self.plan.choice.steerable,
            "began": self._began,
            "began_at": self._began_at,
            "state": self.state,
            "driving": driving_view(self.driving),
            "question": question.view if question and not self.gate.held else None,
            "end": self.ended.end if self.ended else "",
            "reason": self.ended.reason if self.ended else "",
            "truth": self.truth,
        }

    def tell(self, kind: str, **fields: Any) -> None:
        """A record of this run that does not come from the loop."""
        self._teller.tell(kind, **fields)
        self._show()

    # The thread of the run ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        unsubscribe = self.connected.sample(self._sampled)
        try:
            events = drive(
                self.reins,
                self.policy,
                self._verifier,
                self.plan.instruction,
                rules=self.connected.rules,
                gate=self.gate,
                config=RolloutConfig(MAX_CYCLES, approval_s=self._approval_s),
                stopped=self.reins.stopped,
                clock=self.events.now,
            )
            for event in record(events, self._trace):
                self._happened(event)
        except BaseException as error:  # the loop itself does not raise: this is a bug or a full disk
            log.exception("run %s broke", self.plan.id)
            self.reins.halt()
            self._over(Ended("error", f"{type(error).__name__}: {error}", self.driving))
        finally:
            unsubscribe()
            self._done.set()

    def _happened(self, event: Event) -> None:
        if isinstance(event, Ended):
            if event.end == "stopped" and self._stop_reason:
                event = Ended("stopped", self._stop_reason, event.driving)
            self._look()
            self._over(event)
            return
        self._look()
        driving = getattr(event, "driving", None)
        if driving is not None and driving != self.driving:
            self.driving = driving
        self._teller.event(event)
        self._show()

    def _sampled(self, observation: Observation) -> None:
        """In mid-motion, on the thread of the run."""
        if not self._trace.observations:
            return
        self._trace.sample(observation)
        self._look()
        self._score()

    def _look(self) -> None:
        """Keep the newest step when it is new."""
        if self._trace.observations:
            self._teller.step(len(self._trace.observations) - 1, self._trace.observations[-1])

    def _make_progress(self) -> "Progress | None":
        stage = self.connected.stage
        # The truth of the scene's task says nothing about another instruction.
        if stage is None or self.plan.instruction not in (stage.task.instruction, *stage.task.paraphrases):
            return None
        from vlm2vla.simulation.success import Progress

        return Progress(stage.task, stage.world.state())

    def _score(self) -> None:
        if self._progress is None:
            return
        from vlm2vla.simulation.success import milestones

        score = self._progress.update(self.connected.stage.world.state())
        reached = {name: getattr(score, name) for name in milestones(self.connected.stage.task)}
        truth = {"partial": round(score.partial, 3), "success": score.success, "milestones": reached}
        if truth != self.truth:
            self.truth = truth
            self._teller.tell("truth", **truth)

    def _over(self, ended: Ended) -> None:
        self._score()
        steps = len(self._trace.observations)
        counts = self._teller.counts
        self._teller.tell(
            "run_ended", end=ended.end, reason=ended.reason, truth=self.truth, kept=steps > 1, steps=steps
        )
        seconds = round(self.events.now() - self._began, 2)
        self._journal.finish(
            end=ended.end, reason=ended.reason, truth=self.truth, seconds=seconds, steps=steps, **asdict(counts)
        )
        if self._journal.broken:
            self.events.add("note", run=self.plan.id, level="warning", text=self._journal.broken)
        self.ended = ended
        self._show()

    def _show(self) -> None:
        """Tell what a page shows of the run, when that is something else than before."""
        question = self.gate.question
        shown = (self.state, self.driving, self.gate.mode, question and question.view, self.truth)
        if shown != self._shown:
            self._shown = shown
            self._changed()

    def _tell_gate(self, kind: str, **fields: Any) -> None:
        self.tell(kind, **fields)

    def _info(self) -> JSON:
        stage = self.connected.stage
        return {
            "id": self.plan.id,
            "policy": self.plan.choice.name,
            "policy_title": self.policy.name,
            "instruction": self.plan.instruction,
            "mode": self.plan.mode,
            "robot": self.connected.robot.name,
            "simulated": self.connected.robot.simulated,
            "embodiment": self.connected.robot.embodiment.name,
            "scene": {"task": stage.task.family, "seed": stage.seed} if stage else None,
            "operator": self.plan.operator,
            "rate_hz": self.connected.rate_hz,
            "titles": dict(self.connected.titles),
            "began_at": self._began_at,
            "end": "",
            "reason": "",
            "seconds": 0.0,
            "steps": 0,
            "actions": 0,
            "refused": 0,
            "parse_failures": 0,
            "truth": None,
            "outcome": "",
            "notes": "",
            "episode": "",
        }
