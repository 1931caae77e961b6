"""What a conversation with several models is: frozen values and their JSON. Knows no model and no file."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from vlm2vla.errors import ConfigError
from vlm2vla.vlm.chat import Sampling

Choice = Literal["left", "right", "tie", "both bad"]
CHOICES: tuple[Choice, ...] = ("left", "right", "tie", "both bad")
MAX_PANES = 4
MAX_EXCHANGES = 200
MAX_TEXT = 20_000

End = Literal["writing", "done", "length", "stopped", "error"]
Written = tuple[str, float | None, tuple[tuple[str, float], ...]]
"""A token of an answer: text, natural log of its probability (None where a server does not tell), alternatives."""


@dataclass(frozen=True)
class Answer:
    """What one model said.

    Attributes:
        text: So far.
        tokens: Text, natural log of the probability (None where a server does not tell) and the most probable
            alternatives of each token.
        end: How it ended: "done" where the model ended its turn, "length" where the longest answer or the room for it
            did; "writing" while it has not.
        problem: For people, where `end` is "error".
        first_s, seconds: Until the first token, and in all; loading weights is not counted.
    """

    text: str = ""
    tokens: tuple[Written, ...] = ()
    end: End = "writing"
    problem: str = ""
    first_s: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Vote:
    """Which side was better, given without knowing which is which where `blind`.

    Attributes:
        choice: Of the sides as they were shown.
        order: Names of the models from left to right, as they were shown.
        blind: The names were hidden.
        by: Who voted.
        at: Seconds since 1970.
    """

    choice: Choice
    order: tuple[str, ...]
    blind: bool
    by: str = ""
    at: float = 0.0

    def __post_init__(self):
        if self.choice not in CHOICES:
            raise ConfigError(f"a vote is one of {', '.join(CHOICES)}, not {self.choice!r}")


@dataclass(frozen=True)
class Exchange:
    """One question and the answers to it.

    Attributes:
        text: The question.
        images: Ids of kept images, shown before the text.
        answers: By the model's name.
        sampling: How the answers were sampled.
        vote: Which was better, or None.
    """

    text: str
    images: tuple[str, ...] = ()
    answers: Mapping[str, Answer] = field(default_factory=dict)
    sampling: Sampling = Sampling()
    vote: Vote | None = None


@dataclass(frozen=True)
class Conversation:
    """Everything that is needed to show it again, and to repeat it.

    Attributes:
        id: In links and as the name of its file.
        name: For people.
        models: Names from left to right, as shown.
        system: Standing order before the first question, or "".
        sampling: For the next question.
        exchanges: In order.
        blind: The names are hidden until somebody reveals them.
        identity: What each model was when it was first asked: folder and fingerprint of its weights, or address.
        created, changed: Seconds since 1970.
    """

    id: str
    name: str = ""
    models: tuple[str, ...] = ("base",)
    system: str = ""
    sampling: Sampling = Sampling()
    exchanges: tuple[Exchange, ...] = ()
    blind: bool = False
    identity: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    changed: float = 0.0

    def __post_init__(self):
        if not 1 <= len(self.models) <= MAX_PANES or len(set(self.models)) < len(self.models):
            raise ConfigError(f"a conversation is held with 1 to {MAX_PANES} different models, not {self.models}")
        if len(self.exchanges) > MAX_EXCHANGES:
            raise ConfigError(f"a conversation may have {MAX_EXCHANGES} questions; begin another one")

    @property
    def title(self) -> str:
        """Its name, or the first question."""
        return (
            self.name or (" ".join(self.exchanges[0].text.split())[:80] if self.exchanges else "") or "New conversation"
        )

    def asked(self, exchange: Exchange) -> "Conversation":
        """With one more question."""
        return self.touched(exchanges=(*self.exchanges, exchange))

    def answered(self, number: int, model: str, answer: Answer) -> "Conversation":
        """With the answer of one model to question `number`."""
        exchange = self.exchanges[number]
        changed = replace(exchange, answers={**exchange.answers, model: answer})
        return self.touched(exchanges=(*self.exchanges[:number], changed, *self.exchanges[number + 1 :]))

    def touched(self, **changes: Any) -> "Conversation":
        """With changes, and the time of them."""
        return replace(self, changed=time.time(), **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Conversation":
        """Read what `to_json` wrote.

        Raises:
            ConfigError: It is something else.
        """
        try:
            exchanges = tuple(_exchange(row) for row in data["exchanges"])
            fields = {name: data[name] for name in ("id", "name", "system", "blind", "created", "changed")}
            return cls(
                **fields,
                models=tuple(data["models"]),
                identity=dict(data["identity"]),
                sampling=Sampling(**data["sampling"]),
                exchanges=exchanges,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"this is no stored conversation: {type(error).__name__} {error}") from error


def _exchange(row: Mapping[str, Any]) -> Exchange:
    answers = {
        name: Answer(**{**answer, "tokens": tuple(_written(*token) for token in answer["tokens"])})
        for name, answer in row["answers"].items()
    }
    vote = Vote(**{**row["vote"], "order": tuple(row["vote"]["order"])}) if row["vote"] else None
    return Exchange(row["text"], tuple(row["images"]), answers, Sampling(**row["sampling"]), vote)


def _written(text: str, logprob: float | None, alternatives: Sequence[Sequence[Any]] = ()) -> Written:
    return text, logprob, tuple((str(other), float(value)) for other, value in alternatives)
