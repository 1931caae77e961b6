"""Between a decoded chunk and the robot: a person.

One question at a time, bound to what would be done and to where the robot is; a yes to anything else is void, and a
question that nobody answers ends in holding still.

step: every chunk waits for a yes. supervised: a chunk is carried out after a countdown unless somebody says no; it
begins when the operator sees the question. What the safety rules would change waits for a yes. auto: everything that
the rules let through. Knows no page.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from vlm2vla.driving.words import chunk_view, driving_view, flags_of, judge, judged_view
from vlm2vla.errors import ActionRefusedError, ConfigError
from vlm2vla.policy import ChunkReady, Driving
from vlm2vla.robot.safety import Rules
from vlm2vla.rollout.gates import Approve, Decision, approval_key
from vlm2vla.rollout.loop import seven

Mode = Literal["step", "supervised", "auto"]
MODES: tuple[Mode, ...] = get_args(Mode)
APPROVAL_S, VETO_S = 20.0, 3.0
Tell = Callable[..., None]


class StaleAnswerError(ActionRefusedError):
    """The answer is to a question that is not open any more; nothing moved."""


@dataclass(frozen=True, eq=False)
class Question:
    """What a person sees before anything moves.

    Attributes:
        key: What an answer must name.
        approve: What the loop asked.
        chunk: What would be carried out; the policy's chunk, or what a person wrote instead.
        asked, expires: On the clock of the gate.
        counts: It is carried out by itself, some time after it was seen.
        veto: When that is; None before it was seen, and for what waits for a yes.
        flags: What the safety rules would change or refuse.
        view: All of it as JSON values.
    """

    key: str
    approve: Approve
    chunk: ChunkReady
    asked: float
    expires: float
    counts: bool
    veto: float | None
    flags: tuple[str, ...]
    view: dict[str, Any]


class PersonGate:
    """The `Gate` of a run that people watch.

    Args:
        mode: How much is asked.
        rules: What a chunk is judged by before it is shown.
        clock: The loop's.
        tell: Called as tell(kind, **fields) with what happens.
        stopped: Set when the run is over.
    """

    def __init__(
        self,
        mode: Mode,
        rules: Rules,
        clock: Callable[[], float],
        tell: Tell,
        stopped: threading.Event,
        veto_s: float = VETO_S,
    ):
        self._mode, self._rules, self._clock, self._tell = mode, rules, clock, tell
        self._stopped, self._veto_s = stopped, veto_s
        self._changed = threading.Condition()
        self._question: Question | None = None
        self._held = False
        self._careful = False  # after a no, the next chunk waits for a yes
        self._answer: Decision | None = None
        self._redirect: tuple[Callable[[Driving], Driving], Mapping[str, str]] | None = None

    @property
    def mode(self) -> Mode:
        """How much is asked."""
        return self._mode

    @property
    def question(self) -> Question | None:
        """The one that is open."""
        return self._question

    @property
    def held(self) -> bool:
        """A question expired; the robot holds still until somebody says how to go on."""
        return self._held

    def decide(self, question: Approve) -> Decision:
        """Answer the loop; waits for a person where the mode says so."""
        redirected = self._redirected(question)
        if redirected:
            return redirected
        with self._changed:
            if self._mode == "auto" and not self._careful:
                return Decision(True, question.key, "auto")
            self._answer, self._held = None, False
            self._ask(question, question.chunk, question.asked_at)
            try:
                return self._wait(question)
            finally:
                self._question, self._held = None, False

    def answer(self, key: str, go: bool, by: str, reason: str = "") -> None:
        """A person's yes or no.

        Raises:
            StaleAnswerError: Another question is open, or none.
        """
        with self._changed:
            open_ = self._question
            if open_ is None or open_.key != key or self._answer is not None:
                raise StaleAnswerError("that question is not open any more; nothing was carried out", rule="stale")
            if self._clock() > open_.expires:
                raise StaleAnswerError("the answer came too late; nothing was carried out", rule="stale")
            self._careful = not go
            self._say_answer(open_, go, by, reason or ("approved" if go else "vetoed"))

    def set_mode(self, mode: Mode) -> None:
        """Ask more or less from now on.

        Raises:
            ConfigError: No such mode.
        """
        if mode not in MODES:
            raise ConfigError(f"no mode {mode!r}; there is {', '.join(MODES)}")
        with self._changed:
            self._mode, self._careful = mode, False
            if self._question is not None and not self._held:
                # A countdown begins anew, or ends; what was flagged goes on waiting for a yes.
                self._show(replace(self._question, counts=self._counts(self._question.flags), veto=None))
            self._changed.notify_all()

    def seen(self, key: str) -> None:
        """The operator sees this question: its countdown begins. Nothing happens when another one is open by now."""
        with self._changed:
            shown = self._question
            open_ = shown is not None and shown.key == key and not self._held and self._answer is None
            if open_ and shown.counts and shown.veto is None:
                self._show(replace(shown, veto=round(self._clock() + self._veto_s, 3)))
                self._changed.notify_all()

    def replace_chunk(self, key: str, chunk: ChunkReady) -> None:
        """Ask for this chunk instead of the one that question `key` shows; it waits for a yes of its own.

        Raises:
            StaleAnswerError: That question is not open.
        """
        with self._changed:
            shown = self._question
            if shown is None or shown.key != key or self._held or self._answer is not None:
                raise StaleAnswerError(
                    "an action can be changed while it waits to be approved; choose step mode", rule="stale"
                )
            self._careful = True
            self._ask(shown.approve, chunk, self._clock(), edited=True)
            self._changed.notify_all()

    def redirect(self, change: Callable[[Driving], Driving], edit: Mapping[str, str]) -> None:
        """Go on from another subtask or plan: the open question is dropped, else before the next one.

        Args:
            change: What to go on from; raises StaleAnswerError when the run has gone past what it was meant for.
            edit: "what", "text" and "by", for the record.
        """
        with self._changed:
            self._redirect = (change, edit)
            self._changed.notify_all()

    def ask_again(self) -> None:
        """After a question expired: look again and ask anew.

        Raises:
            StaleAnswerError: Nothing is held.
        """
        with self._changed:
            if self._question is None or not self._held:
                raise StaleAnswerError("nothing is held", rule="stale")
            self._answer = Decision(False, self._question.key, "asked again")
            self._changed.notify_all()

    def wake(self) -> None:
        """The run was stopped: nobody needs to answer any more."""
        with self._changed:
            self._changed.notify_all()

    def _wait(self, question: Approve) -> Decision:
        while True:
            redirected = self._redirected(question)
            if redirected:
                return redirected
            shown = self._question
            if self._stopped.is_set():
                return Decision(False, shown.key, "stopped")
            if self._answer is not None:
                return self._answer
            now = self._clock()
            if not self._held:
                if self._mode == "auto" and shown.chunk is question.chunk and not shown.flags:
                    self._say_answer(shown, True, "", "auto")
                    continue
                if shown.veto is not None and now >= shown.veto:
                    self._say_answer(shown, True, "", "nobody said no")
                    continue
                if now > shown.expires:
                    self._held = True
                    self._tell("held", key=shown.key, reason="nobody answered; the robot holds still")
                    continue
            due = [shown.expires] + ([shown.veto] if shown.veto is not None else [])
            self._changed.wait(None if self._held else max(0.005, min(due) - now))

    def _ask(self, approve: Approve, chunk: ChunkReady, asked: float, edited: bool = False) -> None:
        rows = seven(chunk.chunk.rows)
        decisions = judge(rows, self._rules, approve.observation)
        flags = tuple(flags_of(decisions, len(rows)))
        key = approval_key(chunk, approve.observation)
        counts, expires = self._counts(flags), asked + approve.expires_after_s
        view = {
            "key": key,
            "text": chunk.text,
            "judged": [judged_view(decision) for decision in decisions],
            "driving": driving_view(approve.driving),
            "asked": round(asked, 3),
            "expires": round(expires, 3),
            "flags": list(flags),
            "edited": edited,
        } | chunk_view(rows, approve.driving.plan)
        self._show(Question(key, approve, chunk, asked, expires, counts, None, flags, view))

    def _show(self, question: Question) -> None:
        view = question.view | {"counts": question.counts, "veto": question.veto}
        self._question = replace(question, view=view)
        self._tell("question", question=view)

    def _counts(self, flags: tuple[str, ...]) -> bool:
        return self._mode == "supervised" and not flags and not self._careful

    def _say_answer(self, shown: Question, go: bool, by: str, reason: str) -> None:
        edited = shown.chunk if shown.chunk is not shown.approve.chunk else None
        self._answer = Decision(go, shown.key, reason, chunk=edited, asked_at=shown.asked if edited else None)
        self._tell("answered", key=shown.key, go=go, by=by, reason=reason)
        self._changed.notify_all()

    def _redirected(self, question: Approve) -> Decision | None:
        with self._changed:
            if self._redirect is None:
                return None
            (change, edit), self._redirect = self._redirect, None
            try:
                driving = change(question.driving)
            except StaleAnswerError as error:
                self._tell("edit_refused", **edit, reason=str(error))
                return None
            self._tell("edited", **edit)
            return Decision(False, question.key, f"{edit['what']} changed by {edit['by']}", driving=driving)
