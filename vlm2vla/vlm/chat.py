"""Talking with a vision-language model: messages in, tokens out, one at a time, each with its probability.

The protocol of everything that is asked in words: the policy's levels, the panes of the Chat tab, VQA evaluation.
Adapters: `local` (transformers and peft in this process) and `openai` (any OpenAI-compatible server). Imports nothing
heavy.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from vlm2vla.vlm.protocol import ImagePart

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks.
        parts: Text and images in the order in which they are shown.
    """

    role: Role
    parts: tuple[str | ImagePart, ...]

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """The images, in order."""
        return tuple(part for part in self.parts if isinstance(part, ImagePart))


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the most probable token.
        top_p: Smallest set of tokens whose probabilities sum to this much.
        seed: Equal seeds give equal answers on one machine.
        max_new_tokens: Bound of the answer.
        grammar: EBNF (xgrammar's dialect) that the answer must follow; "" leaves it free.
        top: How many alternatives to report with each token.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_new_tokens: int = 256
    grammar: str = ""
    top: int = 0


@dataclass(frozen=True)
class Token:
    """One generated or scored token.

    Attributes:
        text: Its text as it joins the answer ("" for a part of a character; the last part carries it).
        logprob: Natural log of its probability under the model, before temperature, top-p and grammar; nan where a
            server does not tell.
        alternatives: The most probable (text, logprob) at this place, at most `Sampling.top`.
        corrected: The grammar refused what the model would have written here.
        ended: The model ended its turn with this token, which has no text; without it the answer was cut short.
    """

    text: str
    logprob: float = float("nan")
    alternatives: tuple[tuple[str, float], ...] = field(default=())
    corrected: bool = False
    ended: bool = False


class ChatModel(Protocol):
    """A model that can be talked to, from any thread.

    Attributes:
        name: Name in the registry: "base", "lora", ...
        continues: It goes on with an answer that was begun; a model that does not say so does.
    """

    name: str

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, stopped: threading.Event | None = None
    ) -> Iterator[Token]:
        """The answer, token by token; ends within one token after `stopped` is set.

        Where the last message is the assistant's, the answer continues it: that text is neither sampled nor yielded.

        Raises:
            ModelError: The model cannot answer: too long, an image it cannot see, a server that hangs.
        """
        ...

    def score(self, messages: Sequence[Message], answer: str) -> tuple[Token, ...]:
        """Log-probability of each token of `answer` as the reply to `messages`, under this model.

        Raises:
            ModelError: As for `stream`, or the model cannot score text.
        """
        ...
