"""How the library talks to any vision-language model: one request, one answer, and what it cost.

Knows no provider, no prompt and no schema. Adapters (`scripted`, `gemini`) implement `VLM`.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel

Thinking = Literal["default", "low", "medium", "high"]
TryEvent = Literal["sent", "unbilled"]
Watch = Callable[[TryEvent], None]
"""Told "sent" just before a request leaves, and "unbilled" when the server refused it without doing work."""


@dataclass(frozen=True)
class ImagePart:
    """One encoded image of a request.

    Attributes:
        data: JPEG or PNG bytes.
        mime_type: "image/jpeg" or "image/png".
    """

    data: bytes
    mime_type: str = "image/jpeg"

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) read from the header; (0, 0) when it is neither JPEG nor PNG."""
        if self.data[:8] == b"\x89PNG\r\n\x1a\n" and len(self.data) >= 24:
            return struct.unpack(">II", self.data[16:24])
        return _jpeg_size(self.data)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) from the first frame header of a JPEG, (0, 0) when there is none."""
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], struct.unpack(">H", data[position + 2 : position + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return width, height
        position += 2 + length
    return 0, 0


@dataclass(frozen=True)
class VLMRequest:
    """What a model is asked.

    Attributes:
        system: The standing order.
        parts: Text and images of the one user turn, in order.
        schema: The answer must be JSON for this pydantic class; None asks for free text.
        max_output_tokens: Bound of the answer, thinking included.
        thinking: How long to think; an adapter translates it to what the model takes.
        temperature, top_p, seed: How the answer is sampled; None leaves it to the adapter.
    """

    system: str
    parts: tuple[str | ImagePart, ...]
    schema: type[BaseModel] | None = None
    max_output_tokens: int = 8192
    thinking: Thinking = "default"
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None

    @property
    def text(self) -> str:
        """System text and all text parts, joined."""
        return "\n".join((self.system, *(part for part in self.parts if isinstance(part, str))))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """The images, in order."""
        return tuple(part for part in self.parts if isinstance(part, ImagePart))


@dataclass(frozen=True)
class Usage:
    """What one or more replies took.

    Attributes:
        replies: Replies that arrived, good or not.
        input_tokens, output_tokens: Tokens of these replies; thinking counts as output.
        cost_usd: Their price.
        uncertain_usd: Worst-case price of requests whose reply never arrived, so that nobody knows whether they
            were billed (timeout, cut connection, killed run).
    """

    replies: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    uncertain_usd: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.replies + other.replies,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
            self.uncertain_usd + other.uncertain_usd,
        )


NO_USAGE = Usage()


@dataclass(frozen=True)
class VLMAnswer:
    """A complete answer.

    Attributes:
        text: What the model wrote.
        parsed: The text as the request's schema, None when it had none.
        model: Model id that was asked.
        model_version: The version that answered; a provider may route silently.
        usage: What it took, together with unanswered tries of the same request.
        seconds: Wall time including retries and pauses.
    """

    text: str
    parsed: BaseModel | None
    model: str
    model_version: str
    usage: Usage
    seconds: float

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt."""
        return self.usage.input_tokens

    @property
    def output_tokens(self) -> int:
        """Tokens of the answer, thinking included."""
        return self.usage.output_tokens

    @property
    def cost_usd(self) -> float:
        """Price of the answer."""
        return self.usage.cost_usd


@dataclass(frozen=True)
class Estimate:
    """What one request would take, before it is sent.

    Attributes:
        input_tokens: Expected tokens of the prompt; `counted` tells whether the provider counted them.
        output_tokens: Assumed tokens of the answer.
        cost_usd: Expected price; `worst_usd` is a bound: all output tokens used.
    """

    input_tokens: int
    output_tokens: int
    cost_usd: float
    worst_usd: float
    counted: bool = False


class VLM(Protocol):
    """A vision-language model behind any door. Adapters are safe to call from several threads."""

    model: str

    def answer(self, request: VLMRequest, *, watch: Watch | None = None) -> VLMAnswer:
        """Ask once, with the adapter's own retries.

        Raises:
            ModelError: No usable answer; `details["usage"]` holds what was paid nevertheless, as `Usage` fields.
            ConfigError: No request of this kind can work (key, model name).
        """
        ...

    def count_tokens(self, request: VLMRequest) -> int:
        """Tokens of the prompt, free of charge; an estimate where the provider does not count."""
        ...

    def estimate(self, request: VLMRequest, *, count: bool = False) -> Estimate:
        """What the request would take, without sending it; `count` may ask the provider to count, free of charge."""
        ...

    def stop(self) -> None:
        """End pauses and send nothing more; requests under way still finish. For Ctrl-C."""
        ...
