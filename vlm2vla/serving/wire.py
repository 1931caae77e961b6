"""The OpenAI chat protocol, as far as it is served: what comes in, checked; what goes out.

What a request asks for and cannot have is refused, never ignored in silence.
"""

import base64
import binascii
import json
import math
import secrets
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlm2vla.errors import ConfigError
from vlm2vla.vlm.chat import Message, Sampling, Token
from vlm2vla.vlm.protocol import ImagePart

MAX_TOKENS = 8192
_HARMLESS = frozenset(("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"))
"""What a client may tell about itself; it changes no answer."""
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "stop": ([], ""),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "skip_special_tokens": (True,),
    "ignore_eos": (False,),
    "use_beam_search": (False,),
    "echo": (False,),
}
"""Of settings that are not served, the values that ask for nothing. Whatever is not here is refused."""


class ImageUrl(BaseModel):
    """A data URL; `detail` is ignored, as there is one way to look."""

    model_config = ConfigDict(extra="allow")
    url: str


class Part(BaseModel):
    """Text or image of a message."""

    model_config = ConfigDict(extra="allow")
    type: Literal["text", "image_url"]
    text: str = ""
    image_url: ImageUrl | None = None


class ChatMessage(BaseModel):
    """One turn."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None


class Structured(BaseModel):
    """vLLM's structured outputs: one of the two."""

    model_config = ConfigDict(extra="forbid")
    grammar: str = ""
    choice: list[str] = Field(default=[], max_length=1000)


class JsonSchema(BaseModel):
    """A JSON schema with the name that its author gave it."""

    model_config = ConfigDict(extra="ignore")
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """OpenAI's structured outputs: any JSON object, or one that fits a schema."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _whole(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema belongs to the type json_schema, and that needs one")
        return self


class ChatRequest(BaseModel):
    """Body of POST /v1/chat/completions."""

    model_config = ConfigDict(extra="allow")
    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    temperature: float = Field(1.0, ge=0, le=5)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    prompt_logprobs: int | None = None
    structured_outputs: Structured | None = None
    response_format: ResponseFormat | None = None

    def sampling(self) -> Sampling:
        """How the answer is sampled.

        Raises:
            ConfigError: Something is asked for that is not served.
            ModelInputError: A schema that cannot be followed.
        """
        self._refuse_unserved()
        most = self.max_completion_tokens or self.max_tokens or 1024
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed if self.seed is not None else secrets.randbelow(2**31),
            max_new_tokens=min(most, MAX_TOKENS),
            grammar=_grammar(self.structured_outputs, self.response_format),
            top=(self.top_logprobs or 0) if self.logprobs else 0,
        )

    def _refuse_unserved(self) -> None:
        begun = self.messages[-1].role == "assistant"  # its text is continued, whatever else is said
        neutral = _NEUTRAL | {"continue_final_message": (begun,), "add_generation_prompt": (not begun,)}
        for name, value in (self.model_extra or {}).items():
            if value is None or name in _HARMLESS or value in neutral.get(name, ()):
                continue
            hint = "use structured_outputs or response_format" if name.startswith("guided_") else "leave it out"
            raise ConfigError(f"{name}={json.dumps(value)[:80]} is not served here; {hint}")
        if self.prompt_logprobs is not None and (self.prompt_logprobs or self.stream or not begun):
            raise ConfigError("prompt_logprobs is served as 0, without a stream, of an answer that was begun")

    def conversation(self) -> list[Message]:
        """The messages.

        Raises:
            ConfigError: An image that is not a data URL.
        """
        return [Message("system" if it.role == "developer" else it.role, _parts(it.content)) for it in self.messages]


def _parts(content: str | list[Part] | None) -> tuple[str | ImagePart, ...]:
    if content is None or isinstance(content, str):
        return (content or "",)
    return tuple(part.text if part.type == "text" else _image(part) for part in content)


def _image(part: Part) -> ImagePart:
    url = part.image_url.url if part.image_url else ""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise ConfigError(
            "images are taken as data URLs (data:image/jpeg;base64,...); nothing is fetched from elsewhere"
        )
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError("the data URL of an image is no base64") from error
    return ImagePart(raw, head.removeprefix("data:").removesuffix(";base64"))


def _grammar(structured: Structured | None, wanted: ResponseFormat | None) -> str:
    if wanted is not None and wanted.type != "text":
        if structured is not None:
            raise ConfigError("ask for structured_outputs or for a response_format, not for both")
        from vlm2vla.vlm.local.grammar import json_grammar

        return json_grammar(wanted.json_schema.schema_ if wanted.json_schema else {"type": "object"})
    if structured is None:
        return ""
    if bool(structured.grammar) == bool(structured.choice):
        raise ConfigError("structured_outputs takes either a grammar or a choice")
    if structured.grammar:
        return structured.grammar
    return "root ::= " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in structured.choice)


def chunk(answer_id: str, model: str, created: int, delta: dict[str, Any], **choice: Any) -> dict[str, Any]:
    """One event of a stream."""
    return {
        "id": answer_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}],
    }


def completion(
    answer_id: str, model: str, created: int, tokens: Sequence[Token], request: ChatRequest, finish: str
) -> dict[str, Any]:
    """The whole answer."""
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(token.text for token in tokens), "refusal": None},
        "finish_reason": finish,
        "logprobs": {"content": [logprob(token) for token in tokens]} if request.logprobs else None,
    }
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": usage(len(tokens)),
    }


def prompt_logprobs(tokens: Sequence[Token]) -> list[dict[str, Any] | None]:
    """As vLLM tells them, of the begun answer alone: None for all before it, then {place: ...} of each token."""
    told = ({"logprob": logprob(token)["logprob"], "rank": None, "decoded_token": token.text} for token in tokens)
    return [None, *({str(place): row} for place, row in enumerate(told))]


def usage(written: int) -> dict[str, int]:
    """Tokens written; those read are not counted here."""
    return {"prompt_tokens": 0, "completion_tokens": written, "total_tokens": written}


def logprob(token: Token) -> dict[str, Any]:
    """One token with its alternatives."""

    def row(text: str, value: float) -> dict[str, Any]:
        finite = value if math.isfinite(value) else -9999.0
        return {"token": text, "logprob": finite, "bytes": list(text.encode())}

    return row(token.text, token.logprob) | {"top_logprobs": [row(*pair) for pair in token.alternatives]}


def trouble(message: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients expect it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
