"""What an OpenAI-compatible server does, found out by small questions: servers ignore what they do not know."""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vlm2vla.errors import ModelError
from vlm2vla.vlm.chat import Message, Sampling
from vlm2vla.vlm.protocol import ImagePart

# PNGs of 56 x 56 pixels.
_RED = (
    "iVBORw0KGgoAAAANSUhEUgAAADgAAAA4CAIAAAAn5KxJAAAAQElEQVR42u3OQQkAAAgAsetfWh+mEAYLsKZeSFRUVFRUVFRUVFRU"
    "VFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRU9CwicjR1t9nCvQAAAABJRU5ErkJggg=="
)
_BLUE = (
    "iVBORw0KGgoAAAANSUhEUgAAADgAAAA4CAIAAAAn5KxJAAAAQklEQVR42u3OQQ0AAAgEoNP+nTWFDzdIQCWTDzpPiIqKioqKioqKioqK"
    "ioqKioqKioqKioqKioqKioqKioqKioqKiopeWw3mAW8i4CoiAAAAAElFTkSuQmCC"
)
_PICTURES = (_RED, _RED, _BLUE)
_HELLO = Message("user", ("Say one word.",))
_SMALLEST_CHANGE = 1e-3
"""Of a logprob; less is rounding."""


@dataclass(frozen=True)
class Capabilities:
    """What a server turned out to do.

    Attributes:
        images: It looks at images: another picture gives another answer.
        logprobs: It tells probabilities.
        grammar: Answers follow a grammar when one is sent.
        continues: It continues an answer that was begun.
        scores: It tells the probabilities of a given answer.
    """

    images: bool
    logprobs: bool
    grammar: bool
    continues: bool
    scores: bool


Ask = Callable[[Sequence[Message], Sampling], Any]
"""One reply, as the openai client gives it."""


def probe(ask: Ask, score: Callable[[Sequence[Message], str], Any]) -> Capabilities:
    """Find out.

    Args:
        ask: Asks the server.
        score: Has it score an answer.

    Raises:
        ModelError: It does not even answer a plain question.
    """
    first = ask((_HELLO,), Sampling(max_new_tokens=1))
    begun = (_HELLO, Message("assistant", ("1 2 3 4 5",)))
    return Capabilities(
        images=_sees(ask),
        logprobs=bool(first.choices and first.choices[0].logprobs and first.choices[0].logprobs.content),
        grammar=_follows(ask),
        continues=_works(lambda: ask(begun, Sampling(max_new_tokens=1))),
        scores=_works(lambda: score((_HELLO,), "one")),
    )


def _works(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ModelError:
        return False
    return True


def _follows(ask: Ask) -> bool:
    try:
        reply = ask((_HELLO,), Sampling(max_new_tokens=8, grammar='root ::= "zebra"'))
    except ModelError:
        return False
    return bool(reply.choices) and (reply.choices[0].message.content or "").strip() == "zebra"


def _sees(ask: Ask) -> bool:
    """Another picture changes the answer, and more than asking again does: servers do not compute exactly."""
    try:
        red, again, blue = (
            _said(ask((_colour(picture),), Sampling(max_new_tokens=16, top=5))) for picture in _PICTURES
        )
    except ModelError:
        return False
    return _apart(red, blue) > 2 * _apart(red, again) + _SMALLEST_CHANGE


def _colour(picture: str) -> Message:
    return Message("user", (ImagePart(base64.b64decode(picture), "image/png"), "Which colour is it? One word."))


def _said(reply: Any) -> tuple[str, dict[str, float]]:
    """The text, and the logprobs of what could have been its first token ({} where they are not told)."""
    if not reply.choices:
        return "", {}
    choice = reply.choices[0]
    told = choice.logprobs.content[:1] if choice.logprobs and choice.logprobs.content else []
    return choice.message.content or "", {
        row.token: row.logprob for token in told for row in (token, *token.top_logprobs)
    }


def _apart(one: tuple[str, dict[str, float]], other: tuple[str, dict[str, float]]) -> float:
    if not (one[1] and other[1]):
        return float(one[0] != other[0])
    return max((abs(one[1][token] - other[1][token]) for token in one[1].keys() & other[1].keys()), default=math.inf)
