"""The chat service: ask several models at once, change a question and ask again, vote, reveal, export.

Answers are written down while they come: a browser that goes away, a model that is removed or a crash costs at most
the last two seconds of an answer.
"""

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from vlm2vla.chat.conversation import MAX_TEXT, Answer, Conversation, Exchange, Vote
from vlm2vla.chat.export import to_archive, to_json, to_markdown
from vlm2vla.chat.lens import look, token_forms
from vlm2vla.chat.speakers import Awake, Speakers
from vlm2vla.chat.store import ChatStore
from vlm2vla.chat.view import conversation_view, exchange_view, shown_problem
from vlm2vla.chat.votes import win_rates
from vlm2vla.errors import ConfigError, VLM2VLAError
from vlm2vla.vlm.chat import Message, Sampling, Token
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.workspace import Workspace

JSON = dict[str, Any]
_SAVE_EVERY_S = 2.0
_TEXTS = {"json": to_json, "md": to_markdown}
MAX_IMAGES = 4


class Chat:
    """One per studio; safe to call from several threads. Each conversation is answered by one question at a time."""

    def __init__(
        self,
        workspace: Workspace,
        speakers: Speakers,
        *,
        clock: Callable[[], float] = time.monotonic,
        shuffle: Callable[[list[str]], None] | None = None,
    ):
        """Nothing is loaded yet.

        Args:
            workspace: Where conversations are kept.
            speakers: Who answers.
            clock: Seconds.
            shuffle: Decides the sides of a blind conversation, in place.
        """
        self.store, self.speakers = ChatStore(workspace), speakers
        self._clock, self._shuffle = clock, shuffle or random.SystemRandom().shuffle
        self._running: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def new(self, models: Sequence[str], *, blind: bool = False, system: str = "", name: str = "") -> JSON:
        """Begin a conversation; in a blind one the sides are shuffled and nobody is told.

        Raises:
            ConfigError: No models, too many, or one twice; a blind conversation needs two.
        """
        names = list(models)
        if blind and len(names) != 2:
            raise ConfigError(f"a blind comparison needs two models, not {len(names)}")
        if blind:
            self._shuffle(names)
        now = time.time()
        sampling = Sampling(top=3)
        conversation = Conversation(
            self.store.new_id(), _short(name), tuple(names), system[:MAX_TEXT], sampling, (), blind, {}, now, now
        )
        self.store.save(conversation)
        return self._view(conversation)

    def open(self, conversation_id: str) -> JSON:
        """The conversation as it is shown; answers that nobody is writing any more are marked as stopped.

        Raises:
            NotFoundError: There is none of that id.
        """
        return self._view(self._get(conversation_id))

    def change(self, conversation_id: str, **changes: Any) -> JSON:
        """Change `name`, `system`, `models` or `sampling` (a mapping) for what comes next.

        Raises:
            ConfigError: Something else, or values that cannot be.
        """
        with self._idle(conversation_id):
            conversation = self._get(conversation_id)
            unknown = set(changes) - {"name", "system", "models", "sampling"}
            if unknown:
                raise ConfigError(f"a conversation has no {', '.join(sorted(unknown))} to change")
            if "models" in changes:
                if conversation.blind:
                    raise ConfigError("the sides of a blind conversation are fixed; reveal them, or begin another one")
                changes["models"] = tuple(changes["models"])
            if "sampling" in changes:
                changes["sampling"] = sampling_of(conversation.sampling, changes["sampling"])
            if "name" in changes:
                changes["name"] = _short(changes["name"])
            conversation = conversation.touched(**changes)
            self.store.save(conversation)
        return self._view(conversation)

    def ask(
        self, conversation_id: str, text: str, images: Sequence[str] = (), *, instead_of: int | None = None
    ) -> Iterator[JSON]:
        """Ask all models; yields records while they answer, the last one is the finished exchange.

        Args:
            conversation_id: Where.
            text: The question.
            images: Ids of kept images.
            instead_of: Number of an earlier question that this one replaces; what came after it is dropped.

        Yields:
            {"pane", "state": "loading" or "reading"} for each pane, once more when its weights are loaded; {"pane",
            "text", "logprob", "alternatives"} for a token; {"pane", "end", "problem", "seconds"} where an answer ends
            (seconds without the loading); {"exchange": number, ...} at last.
            Closing the generator stops the answers.

        Raises:
            ConfigError: Nothing was asked, too much, or an answer is still being written.
            NotFoundError: No such conversation or image.
        """
        text = text.strip()
        if not text:
            raise ConfigError("write a question first")
        if len(text) > MAX_TEXT:
            raise ConfigError(f"the question has {len(text)} characters; {MAX_TEXT} are taken")
        if len(images) > MAX_IMAGES:
            raise ConfigError(f"a question shows at most {MAX_IMAGES} images, not {len(images)}")
        for image in images:
            self.store.image_path(image)
        with self._idle(conversation_id) as stopped:
            conversation = self._get(conversation_id)
            if instead_of is not None:
                if not 0 <= instead_of < len(conversation.exchanges):
                    raise ConfigError(f"there is no question {instead_of} to ask again")
                conversation = conversation.touched(exchanges=conversation.exchanges[:instead_of])
            conversation = self._identified(conversation)
            conversation = conversation.asked(Exchange(text, tuple(images), {}, conversation.sampling))
            yield from self._answers(conversation, stopped)

    def stop(self, conversation_id: str) -> bool:
        """Stop the answers that are being written, within a token; False when there are none."""
        with self._lock:
            running = self._running.get(conversation_id)
        if running is not None:
            running.set()
        return running is not None

    def vote(self, conversation_id: str, number: int, choice: str, by: str) -> JSON:
        """Say which side answered better; may be changed until somebody reveals the names.

        Raises:
            ConfigError: No such exchange, no second side, answers that are still being written.
        """
        with self._idle(conversation_id):
            conversation = self._get(conversation_id)
            if not 0 <= number < len(conversation.exchanges):
                raise ConfigError(f"there is no question {number} to vote on")
            if len(conversation.models) < 2:
                raise ConfigError("a vote needs two answers side by side")
            exchange = conversation.exchanges[number]
            vote = Vote(choice, conversation.models, conversation.blind, by, time.time())
            exchanges = list(conversation.exchanges)
            exchanges[number] = replace(exchange, vote=vote)
            conversation = conversation.touched(exchanges=tuple(exchanges))
            self.store.save(conversation)
            self.store.log_vote(_repeatable(conversation, number, vote))
        return self._view(conversation)

    def reveal(self, conversation_id: str) -> JSON:
        """Show which side is which; from now on it is no blind conversation any more."""
        with self._idle(conversation_id):
            conversation = self._get(conversation_id).touched(blind=False)
            self.store.save(conversation)
        return self._view(conversation)

    def win_rates(self) -> list[JSON]:
        """Win rates of every pair from blind votes; they count once the sides are revealed, or they would tell them."""
        hidden: dict[str, bool] = {}
        votes = list(self.store.votes())
        for name in {str(vote.get("conversation")) for vote in votes}:
            with contextlib.suppress(VLM2VLAError):  # deleted since
                hidden[name] = self.store.get(name).blind
        return [asdict(rate) for rate in win_rates(vote for vote in votes if not hidden.get(vote.get("conversation")))]

    def export(self, conversation_id: str, kind: str) -> bytes:
        """The whole conversation as "json", "md", or "zip": both, and the images.

        Raises:
            ConfigError: Another kind, or a blind conversation that nobody revealed.
            NotFoundError: No such conversation, or one of its images is gone.
        """
        conversation = self._get(conversation_id)
        if conversation.blind:
            raise ConfigError("reveal the sides first: an export names them")
        if kind == "zip":
            return to_archive(conversation, self.store.image_path)
        if kind not in _TEXTS:
            raise ConfigError(f"conversations are exported as json, md or zip, not {kind!r}")
        return _TEXTS[kind](conversation).encode()

    def lens(self, conversation_id: str, number: int, texts: Sequence[str]) -> list[JSON]:
        """How probable these texts are as an answer to question `number`, under every model of the conversation.

        An action chunk is scored in words and in action tokens. The scores stand in the order of the panes; they have
        no names while the conversation is blind.

        Raises:
            ConfigError: No such question, no text, too many.
        """
        conversation = self._get(conversation_id)
        if not 0 <= number < len(conversation.exchanges):
            raise ConfigError(f"there is no question {number} to look at")
        models = [self.speakers.model(name) for name in conversation.models]
        asked = {name: self.messages(conversation, name, number) for name in conversation.models}
        rows = look(models, asked, texts, token_forms(self._forms(conversation).values()))
        if conversation.blind:
            for row in rows:
                row["scores"] = [
                    {**score, "model": "", "problem": shown_problem(score["problem"], conversation)}
                    for score in row["scores"]
                ]
        return rows

    def delete(self, conversation_id: str) -> None:
        """Forget a conversation; votes stay in their log."""
        with self._idle(conversation_id):
            self.store.delete(conversation_id)

    def messages(self, conversation: Conversation, model: str, number: int) -> list[Message]:
        """What `model` is asked with question `number`: its own history, without questions that it did not answer."""
        messages = [Message("system", (conversation.system,))] if conversation.system.strip() else []
        for position, exchange in enumerate(conversation.exchanges[: number + 1]):
            answer = exchange.answers.get(model)
            if position < number and not (answer and answer.text and answer.end != "error"):
                continue
            pictures = [ImagePart(self.store.image_path(image).read_bytes()) for image in exchange.images]
            messages.append(Message("user", (*pictures, exchange.text)))
            if position < number:
                messages.append(Message("assistant", (answer.text,)))
        return messages

    def _view(self, conversation: Conversation) -> JSON:
        return conversation_view(conversation, self._forms(conversation))

    def _forms(self, conversation: Conversation) -> dict[str, str]:
        """How the models of a conversation write actions."""
        return {entry.name: entry.writes for entry in self.speakers.entries() if entry.name in conversation.models}

    def _answers(self, conversation: Conversation, stopped: threading.Event) -> Iterator[JSON]:
        number = len(conversation.exchanges) - 1
        sampling = conversation.sampling
        for name in conversation.models:
            conversation = conversation.answered(number, name, Answer())
        self.store.save(conversation)
        saved = self._clock()
        began = dict.fromkeys(conversation.models, saved)
        try:
            asked = {name: self.messages(conversation, name, number) for name in conversation.models}
            for pane, name in enumerate(conversation.models):
                yield {"pane": pane, "state": "loading" if self.speakers.waking(name) else "reading"}
            for name, what in self.speakers.speak(asked, sampling, stopped):
                if isinstance(what, Awake):
                    began[name] = self._clock()
                    yield {"pane": conversation.models.index(name), "state": "reading"}
                    continue
                answer = conversation.exchanges[number].answers[name]
                took = self._clock() - began[name]
                answer = _grown(answer, what, took, stopped.is_set())
                conversation = conversation.answered(number, name, answer)
                if answer.end != "writing" or self._clock() - saved > _SAVE_EVERY_S:
                    self.store.save(conversation)
                    saved = self._clock()
                if not (isinstance(what, Token) and what.ended):
                    yield _record(conversation, name, what, answer)
        finally:
            stopped.set()
            conversation = _none_writing(conversation)
            self.store.save(conversation)
        yield exchange_view(conversation, number, self._forms(conversation))

    def _identified(self, conversation: Conversation) -> Conversation:
        """Write down what each model is, so that the comparison can be repeated."""
        identity = dict(conversation.identity)
        for name in conversation.models:
            if name not in identity:
                with contextlib.suppress(VLM2VLAError):  # the model's own pane says what is wrong with it
                    identity[name] = self.speakers.identity(name)
        return conversation.touched(identity=identity)

    def _get(self, conversation_id: str) -> Conversation:
        conversation = self.store.get(conversation_id)
        with self._lock:
            running = conversation_id in self._running
        return conversation if running else _none_writing(conversation)

    @contextlib.contextmanager
    def _idle(self, conversation_id: str) -> Iterator[threading.Event]:
        """Nobody else writes this conversation meanwhile.

        Raises:
            ConfigError: Somebody does.
        """
        stopped = threading.Event()
        with self._lock:
            if conversation_id in self._running:
                raise ConfigError("an answer is still being written here; stop it, or wait")
            self._running[conversation_id] = stopped
        try:
            yield stopped
        finally:
            with self._lock:
                self._running.pop(conversation_id, None)


def sampling_of(old: Sampling, values: Mapping[str, Any]) -> Sampling:
    """`old` with some values changed.

    Raises:
        ConfigError: Values that cannot be.
    """
    try:
        new = replace(old, **values)
    except TypeError as error:
        raise ConfigError(f"no such setting of sampling: {error}") from error
    good = 0 <= new.temperature <= 5 and 0 < new.top_p <= 1 and 1 <= new.max_new_tokens <= 8192 and 0 <= new.top <= 20
    if not good:
        raise ConfigError("temperature is 0 to 5, top_p above 0 to 1, tokens 1 to 8192, alternatives 0 to 20")
    return new


def _grown(answer: Answer, what: Token | VLM2VLAError | None, took: float, stopped: bool) -> Answer:
    first = answer.first_s or round(took, 3)
    if isinstance(what, Token) and what.ended:
        return replace(answer, end="done", first_s=first, seconds=round(took, 3))
    if isinstance(what, Token):
        value = what.logprob if math.isfinite(what.logprob) else None
        tokens = (*answer.tokens, (what.text, value, what.alternatives))
        return replace(answer, text=answer.text + what.text, tokens=tokens, first_s=first)
    if what is not None:
        return replace(answer, end="error", problem=str(what) or "the model failed", seconds=round(took, 3))
    end = answer.end if answer.end == "done" else "stopped" if stopped else "length"
    return replace(answer, end=end, seconds=round(took, 3))


def _record(conversation: Conversation, model: str, what: Token | VLM2VLAError | None, answer: Answer) -> JSON:
    pane = conversation.models.index(model)
    if isinstance(what, Token):
        alternatives = [list(pair) for pair in what.alternatives]
        return {"pane": pane, "text": what.text, "logprob": answer.tokens[-1][1], "alternatives": alternatives}
    problem = shown_problem(answer.problem, conversation)
    return {"pane": pane, "end": answer.end, "problem": problem, "seconds": answer.seconds}


def _none_writing(conversation: Conversation) -> Conversation:
    """Answers that are marked as being written, by nobody, were stopped."""
    for number, exchange in enumerate(conversation.exchanges):
        for name, answer in exchange.answers.items():
            if answer.end == "writing":
                conversation = conversation.answered(number, name, replace(answer, end="stopped"))
    return conversation


def _repeatable(conversation: Conversation, number: int, vote: Vote) -> JSON:
    """One line of the log of votes: everything that is needed to repeat the comparison."""
    exchange = conversation.exchanges[number]
    before = [asdict(earlier) for earlier in conversation.exchanges[:number]]
    return {
        "conversation": conversation.id,
        "exchange": number,
        **asdict(vote),
        "question": exchange.text,
        "images": list(exchange.images),
        "system": conversation.system,
        "sampling": asdict(exchange.sampling),
        "answers": {name: answer.text for name, answer in exchange.answers.items()},
        "identity": dict(conversation.identity),
        "before": before,
    }


def _short(name: str) -> str:
    return " ".join(str(name).split())[:120]
