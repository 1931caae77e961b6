"""What the operator says during a run: yes and no, typed actions, changed subtasks, plans and chunks, corrections."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from vlm2vla.driving.gate import StaleAnswerError
from vlm2vla.driving.run import Run
from vlm2vla.driving.typing_line import MAX_TEXT
from vlm2vla.driving.words import chunk_view, flags_of, judge, judged_view
from vlm2vla.errors import ActionParseError, ConfigError, RobotError
from vlm2vla.policy import ChunkReady, Driving
from vlm2vla.policy.typed import read_action
from vlm2vla.rollout.loop import seven

if TYPE_CHECKING:
    from vlm2vla.driving.service import DriveService

JSON = dict[str, Any]
What = Literal["chunk", "plan", "subtask", "correction"]
WHATS: tuple[What, ...] = get_args(What)
MAX_WORDS = 300


class Steering:
    """The operator's words. All methods raise NotOperatorError for anybody else, RobotError when nothing runs."""

    def __init__(self, service: "DriveService"):
        self._service = service

    def answer(self, client: str, key: str, go: bool, by: str, reason: str = "") -> None:
        """Yes or no to the open question.

        Raises:
            StaleAnswerError: That question is not open any more.
        """
        self._service.current(client).gate.answer(key, go, by, reason[:MAX_WORDS])

    def seen(self, client: str, key: str) -> None:
        """The operator's page shows this question; without that it is never carried out by itself."""
        self._service.current(client).gate.seen(key)

    def ask_again(self, client: str) -> None:
        """After a question expired.

        Raises:
            StaleAnswerError: Nothing is held.
        """
        self._service.current(client).gate.ask_again()

    def type(self, client: str, text: str, by: str, done: bool = False) -> None:
        """Action language for the policy that waits for it; or nothing more will come.

        Raises:
            ConfigError: Empty or too long, or the policy does not read what is typed.
            ActionRefusedError: Too much is waiting.
        """
        run = self._service.current(client)
        if "typed" not in run.plan.choice.needs:
            raise ConfigError(f"{run.plan.choice.title} does not read what is typed; edit its action instead")
        if done:
            run.line.end()
            return
        run.line.put(text)
        run.tell("typed", text=text, by=by)

    def edit(self, client: str, what: str, text: str, by: str, at: tuple[int, int] | None = None) -> None:
        """Change what is about to be done, and go on from there. What the run has gone past by then is not changed.

        Args:
            client: Who.
            what: "chunk": action language instead of the one that waits. "plan", "subtask": instead of the current
                one; the levels below are written anew. "correction": action language is taken as a chunk, other
                words as a subtask before the current one.
            text: The words.
            by: Name for the record.
            at: Number of the subtask and of the cycle that the person looked at; the newest ones when not given.

        Raises:
            ActionParseError: The chunk is not action language.
            ConfigError: Empty or too long, or a policy that its words do not steer.
            StaleAnswerError: A chunk can only be changed while it waits.
        """
        run = self._service.current(client)
        text = " ".join(text.split()) if what != "chunk" else text.strip()
        if what not in WHATS:
            raise ConfigError(f"{what[:40]!r} cannot be changed; {', '.join(WHATS)} can")
        if not text or len(text) > (MAX_TEXT if what in ("chunk", "correction") else MAX_WORDS):
            raise ConfigError("say in words what should be changed, not too long")
        at, edit = at or (run.driving.index, run.driving.cycle), {"what": what, "text": text, "by": by}
        if what == "chunk":
            self._chunk(run, edit, at)
        elif what != "correction" or run.gate.question is None:
            self._words(run, edit, at)
        else:
            try:
                self._chunk(run, edit, at)
            except ActionParseError:
                self._words(run, edit, at)

    def read(self, text: str) -> JSON:
        """What a text would do; nothing moves, and nobody needs to drive.

        Raises:
            ActionParseError: Not action language.
            ConfigError: Empty or too long.
            RobotError: No robot is open, or it cannot be seen.
        """
        if not text.strip() or len(text) > MAX_TEXT:
            raise ConfigError(f"type an action of at most {MAX_TEXT} characters")
        connected = self._service.connected
        if connected is None:
            raise RobotError("no robot is open")
        observation = self._service.glance()
        chunk, spelled = read_action(text, observation)
        rows = seven(chunk.rows)
        decisions = judge(rows, connected.rules, observation)
        view = {"text": spelled, "judged": [judged_view(decision) for decision in decisions]}
        return view | {"flags": flags_of(decisions, len(rows))} | chunk_view(rows, "")

    def _chunk(self, run: Run, edit: dict[str, str], at: tuple[int, int]) -> None:
        question = run.gate.question
        if question is None or question.approve.driving.cycle != at[1]:
            raise StaleAnswerError(
                "an action can be changed while it waits to be approved; choose step mode", rule="stale"
            )
        chunk, spelled = read_action(edit["text"], question.approve.observation)
        run.gate.replace_chunk(question.key, ChunkReady(chunk, spelled, edit["text"]))
        run.tell("edited", **edit)

    def _words(self, run: Run, edit: dict[str, str], at: tuple[int, int]) -> None:
        if not run.plan.choice.steerable:
            raise ConfigError(
                f"{run.plan.choice.title} is not steered by words; change its action instead (action language), "
                "or stop and choose another policy"
            )
        what, (index, cycle), change = edit["what"], at, _CHANGES[edit["what"]](edit["text"])

        def unless_late(driving: Driving) -> Driving:
            # A plan is of one cycle; one that is under way already is followed by the plan that was said.
            if driving.index != index or (what == "plan" and driving.cycle > cycle + 1):
                raise StaleAnswerError(
                    f"{edit['by']} changed the {what} of subtask {index + 1}, cycle {cycle + 1}; by now the robot is "
                    f"at subtask {driving.index + 1}, cycle {driving.cycle + 1}, so nothing was changed",
                    rule="stale",
                )
            return change(driving)

        run.gate.redirect(unless_late, edit)


def _new_plan(text: str) -> Callable[[Driving], Driving]:
    return lambda driving: replace(driving, plan=text)


def _new_subtask(text: str) -> Callable[[Driving], Driving]:
    def change(driving: Driving) -> Driving:
        subtasks = (*driving.subtasks[: driving.index], text, *driving.subtasks[driving.index + 1 :])
        return replace(driving, subtasks=subtasks, plan="")

    return change


def _correction(text: str) -> Callable[[Driving], Driving]:
    def change(driving: Driving) -> Driving:
        subtasks = (*driving.subtasks[: driving.index], text, *driving.subtasks[driving.index :])
        return replace(driving, subtasks=subtasks, plan="")

    return change


_CHANGES: dict[str, Callable[[str], Callable[[Driving], Driving]]] = {
    "plan": _new_plan,
    "subtask": _new_subtask,
    "correction": _correction,
}
