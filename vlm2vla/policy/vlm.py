"""The hierarchical policy: a vision-language model writes subtasks, then in every cycle a plan and a chunk.

The words come from the one dialogue builder that made the training samples. Knows no particular model: whatever can
be talked to (`vlm2vla.vlm.chat`) can drive. It never invents an action: what does not parse is written again, and after
the last try it gives up and the robot holds still.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vlm2vla.config import PolicyConfig
from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import ActionParseError, ModelError
from vlm2vla.language import (
    ActionForm,
    MotionPhrase,
    Turn,
    dialogue,
    form,
    measured_turned_round,
    parse_plan,
    parse_subtasks,
    verbalize_plan,
)
from vlm2vla.policy.protocol import (
    ChunkReady,
    Driving,
    GaveUp,
    ParseFailed,
    PlanReady,
    PolicyEvent,
    Streaming,
    SubtasksReady,
)
from vlm2vla.robot import Observation
from vlm2vla.types import ActionChunk, Level
from vlm2vla.vlm.chat import ChatModel, Message, Sampling
from vlm2vla.vlm.protocol import ImagePart

PAPER_TEMPERATURE_PLAN = 0.1
# Bounds of each answer, tokens.
_MOST = {"subtask": 200, "plan": 120, "chunk": 900}
# The beginning of an answer that its format fixes; it is not left to chance.
_BEGINNINGS = {"subtask": "1.", "chunk": "[["}


class VLMPolicy:
    """A `Policy` over any model.

    Args:
        model: Writes; a session keeps its cache between the levels of a cycle.
        embodiment: Whose axes the prompts explain.
        config: Sampling, retries and ablations.
        stopped: Ends an answer within a token.

    Attributes:
        name: Of the model.
        written: Chunks that the model wrote, and how many of them did not parse, before any help: first tries only.
        back_after: See `PolicyConfig`; 0 where the task itself is the only subtask.
    """

    def __init__(
        self,
        model: ChatModel,
        embodiment: Embodiment,
        config: PolicyConfig | None = None,
        *,
        stopped: threading.Event | None = None,
    ):
        self.name = model.name
        self.written = {"chunks": 0, "unparsable": 0}
        self._model, self._embodiment, self._config = model, embodiment, config or PolicyConfig()
        self._stopped = stopped
        self.back_after = self._config.back_after if self._config.subtasks else 0
        self._form: ActionForm = form(self._config.form)
        self._asked = 0
        self._corrected = False

    def subtasks(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The list of subtasks from the first image; the task itself where that level is left out."""
        if not self._config.subtasks:
            yield SubtasksReady((driving.instruction,))
            return
        turns = dialogue(driving.instruction, self._embodiment, self._form)
        began = time.perf_counter()
        for attempt in range(1, self._tries + 1):
            raw = yield from self._write("subtask", turns, observation, self._config.temperature_subtasks)
            try:
                texts = parse_subtasks(raw)
            except ActionParseError as error:
                yield ParseFailed(attempt, raw, str(error))
                continue
            yield SubtasksReady(texts, raw, time.perf_counter() - began)
            return
        yield GaveUp(f"no list of subtasks in {self._tries} tries", self._tries)

    def plan(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The motion plan of this cycle; empty where that level is left out."""
        if self._config.plans == "none":
            yield PlanReady("")
            return
        turns = dialogue(driving.instruction, self._embodiment, self._form, subtask=driving.subtask)
        began = time.perf_counter()
        raw = yield from self._write("plan", turns, observation, plan_temperature(self._config))
        text = " ".join(raw.split())
        if not text:
            yield GaveUp("the model wrote no plan", 1)
            return
        plan = turned_round(text) if self._config.plans == "false" else text
        yield PlanReady(plan, raw, time.perf_counter() - began)

    def chunk(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The action chunk that follows the plan."""
        turns = dialogue(
            driving.instruction,
            self._embodiment,
            self._form,
            subtask=driving.subtask,
            plan=driving.plan if self._config.plans != "none" else None,
        )
        began = time.perf_counter()
        said_back: tuple[Message, ...] = ()
        for attempt in range(1, self._tries + 1):
            temperature = self._config.temperature_chunk
            raw = yield from self._write("chunk", turns, observation, temperature, said_back)
            begun = self._enough(raw)
            try:
                chunk = self._form.parse(_closed(raw) if begun else raw)
            except ActionParseError as error:
                self._count(attempt, parsed=False)
                yield ParseFailed(attempt, raw, str(error))
                said_back = _said_back(raw, error)
                continue
            self._count(attempt, parsed=not self._corrected)
            yield self._ready(chunk, raw, attempt, time.perf_counter() - began, begun)
            return
        yield GaveUp(f"no chunk parsed in {self._tries} tries", self._tries)

    @property
    def _tries(self) -> int:
        return 1 if self._config.parse == "none" else 1 + self._config.retries

    def _ready(self, chunk: ActionChunk, raw: str, attempt: int, seconds: float, begun: bool) -> ChunkReady:
        now = chunk
        if 0 < self._config.max_rows < len(chunk):
            now = ActionChunk(chunk.rows[: self._config.max_rows])
        text = self._form.verbalize(self._form.quantize(now))
        return ChunkReady(now, text, raw, attempt, seconds, later=len(chunk) - len(now) + begun)

    def _count(self, attempt: int, *, parsed: bool) -> None:
        if attempt == 1:
            self.written["chunks"] += 1
            self.written["unparsable"] += not parsed

    def _write(
        self,
        level: Level,
        turns: Sequence[Turn],
        observation: Observation,
        temperature: float,
        more: tuple[Message, ...] = (),
    ) -> Iterator[PolicyEvent]:
        """Stream one answer; its text is the generator's return value.

        Raises:
            ModelError: The model broke: that says nothing about what it would have written, and the rollout ends as an
                error.
        """
        constrained = level == "chunk" and self._config.parse == "grammar"
        beginning = "" if constrained or level == "chunk" and not self._bracketed else _BEGINNINGS.get(level, "")
        beginning = beginning if getattr(self._model, "continues", True) else ""
        messages = [*messages_of(turns, observation), *more]
        if beginning:
            messages.append(Message("assistant", (beginning,)))
        self._asked += 1
        sampling = Sampling(
            temperature=temperature,
            top_p=self._config.top_p,
            seed=self._config.seed * 1_000_003 + self._asked,
            max_new_tokens=_MOST[level],
            grammar=self._form.grammar() if constrained else "",
        )
        text, self._corrected = beginning, False
        for token in self._model.stream(messages, sampling, stopped=self._stopped):
            text += token.text
            self._corrected |= token.corrected
            yield Streaming(level, text)
            if level == "chunk" and self._enough(text):
                break
        return text

    def _enough(self, text: str) -> bool:
        """A row is begun that will not be carried out before the next look: nobody waits for the rest of the chunk."""
        return self._bracketed and 0 < self._config.max_rows < text.count("[") - 1

    @property
    def _bracketed(self) -> bool:
        return self._form.name.startswith("rows")


def plan_temperature(config: PolicyConfig) -> float:
    """Of the sampling of plans: the paper's where nobody said."""
    return PAPER_TEMPERATURE_PLAN if config.temperature_plan is None else config.temperature_plan


def messages_of(turns: Sequence[Turn], *observations: Observation) -> list[Message]:
    """Turns with their images filled in: the default view of each observation, in order."""
    waiting = [ImagePart(next(iter(seen.images.values()))) for seen in observations]
    messages = []
    for turn in turns:
        images, waiting = waiting[: turn.images], waiting[turn.images :]
        if len(images) < turn.images:
            raise ModelError(f"a {turn.role} turn shows {turn.images} images, and {len(images)} are there")
        messages.append(Message(turn.role, (*images, turn.text)))
    return messages


def turned_round(plan: str) -> str:
    """The plan with every direction, and every act of the gripper, turned into its opposite.

    Text that is not a plan in our words is left as it is.
    """
    opposite = {"open": "close", "close": "open", None: None}
    try:
        phrases = parse_plan(plan)
    except ActionParseError:
        return _measured_turned_round(plan)
    turned = tuple(
        MotionPhrase(
            tuple(replace(direction, sign=-direction.sign) for direction in phrase.directions),
            opposite[phrase.gripper],
        )
        for phrase in phrases
    )
    return verbalize_plan(turned)


def _measured_turned_round(plan: str) -> str:
    try:
        return measured_turned_round(plan)
    except ActionParseError:
        return plan


def _closed(text: str) -> str:
    """Rows of a list that was not written to its end, without the one that was only begun."""
    return text[: text.rfind("]") + 1] + "]"


def _said_back(raw: str, error: ActionParseError) -> tuple[Message, ...]:
    problem = f"That cannot be read: {error}. Write it again, in the same form."
    return Message("assistant", (raw,)), Message("user", (problem,))
