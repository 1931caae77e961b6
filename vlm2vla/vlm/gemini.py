"""Gemini through the google-genai SDK: the only module that imports it.

Turns requests into the SDK's form, and every way in which Gemini can fail into a typed error with what was paid.
Knows no prompt. The API key comes from GEMINI_API_KEY or GOOGLE_API_KEY; the SDK's own variable
GOOGLE_GEMINI_BASE_URL points it at another server. With VLM2VLA_LOCAL_MODELS_ONLY=1 only a server on this computer
is ever asked.
"""

import json
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from vlm2vla.config import GeminiConfig
from vlm2vla.errors import (
    ConfigError,
    ModelBlockedError,
    ModelError,
    ModelSchemaError,
    ModelTruncatedError,
    ModelUnavailableError,
)
from vlm2vla.vlm.answers import parse_answer
from vlm2vla.vlm.governor import Governor, Pacing, TryAgain
from vlm2vla.vlm.models import SHIPPED_TABLE, load_models
from vlm2vla.vlm.protocol import Estimate, ImagePart, Usage, VLMAnswer, VLMRequest, Watch
from vlm2vla.vlm.reach import LOCAL_ONLY_VARIABLE, is_loopback, refuse_elsewhere

if TYPE_CHECKING:
    from google import genai
    from google.genai import types

logger = logging.getLogger(__name__)

KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")  # the order of the SDK
BASE_URL_VARIABLE = "GOOGLE_GEMINI_BASE_URL"
_DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com/"

_BLOCKED = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
        "MODEL_ARMOR",
    )
)
_LARGEST_SEED = 2**31 - 1
_TRUNCATED = frozenset(("MAX_TOKENS", "CONTINUATION"))
_TRY_AGAIN = frozenset((408, 429, 500, 502, 503, 504))


class GeminiVLM:
    """One Gemini model. Safe to share between threads; they share its governor too."""

    def __init__(self, config: GeminiConfig, *, base_url: str = "", governor: Governor | None = None):
        """Check everything that can be checked without a request.

        Args:
            config: Model, cap, timeout, tries.
            base_url: Server to ask; GOOGLE_GEMINI_BASE_URL or Google's when empty.
            governor: Shared governor; one is made from the config without it.

        Raises:
            ConfigError: Unknown model, unusable table, a server elsewhere while only local ones are allowed, or no
                key (a dry run goes without: it then estimates instead of counting).
        """
        self.model = config.model
        self.spec = load_models(config.models).find(config.model, config.models or SHIPPED_TABLE)
        self._config = config
        self._governor = governor or Governor(Pacing(attempts=config.attempts), max_cost=config.max_cost)
        self._base_url = base_url or os.environ.get(BASE_URL_VARIABLE, "") or _DEFAULT_BASE_URL
        self._local = is_loopback(self._base_url)
        if not config.dry_run:
            self._refuse_elsewhere()
        self._key = next((value for name in KEY_VARIABLES if (value := os.environ.get(name))), "")
        if not self._key and not config.dry_run:
            raise ConfigError("no Gemini key: set GEMINI_API_KEY (or GOOGLE_API_KEY), or use --annotator kinematic")
        if warning := self.spec.warning(config.model):
            logger.warning("%s", warning)
        self._client: genai.Client | None = None
        self._make = threading.Lock()
        self._told = False

    def answer(self, request: VLMRequest, *, watch: Watch | None = None) -> VLMAnswer:
        """See `VLM.answer`."""
        if self._config.dry_run:
            raise ConfigError("this is a dry run: nothing that is billed is asked")
        client, contents, settings = self._sdk(), self._contents(request.parts), self._settings(request)
        started = time.monotonic()
        worst = self.spec.estimate(request).worst_usd

        def call() -> tuple["tuple[types.GenerateContentResponse, str]", Usage]:
            response = self._send(
                lambda: client.models.generate_content(model=self.model, contents=contents, config=settings)
            )
            usage = self._usage(response, worst)
            return (response, _complete_text(response, usage)), usage

        (response, text), usage = self._governor.run(call, worst_usd=worst, watch=watch)
        version = response.model_version or self.model
        try:
            parsed = parse_answer(text, request, usage)
        except ModelSchemaError as error:
            error.details["model_version"] = version
            raise
        return VLMAnswer(text, parsed, self.model, version, usage, time.monotonic() - started)

    def count_tokens(self, request: VLMRequest) -> int:
        """Tokens of the prompt: counted by Gemini (free of charge), or estimated when there is no key."""
        return self.estimate(request, count=True).input_tokens

    def estimate(self, request: VLMRequest, *, count: bool = False) -> Estimate:
        """See `VLM.estimate`; with `count` Gemini counts the tokens if there is a key."""
        may_ask = self._local or os.environ.get(LOCAL_ONLY_VARIABLE) != "1"
        if not (count and self._key and may_ask):
            return self.spec.estimate(request)
        client = self._sdk()
        # The Gemini API counts contents only: the system text and the schema go with them as text.
        schema = json.dumps(request.schema.model_json_schema()) if request.schema else ""
        contents = self._contents((request.system, schema, *request.parts))

        def call() -> tuple["types.CountTokensResponse", Usage]:
            return self._send(lambda: client.models.count_tokens(model=self.model, contents=contents)), Usage()

        counted, _ = self._governor.run(call, worst_usd=0.0)
        return self.spec.estimate(request, counted.total_tokens or 0)

    def stop(self) -> None:
        """See `VLM.stop`."""
        self._governor.stop()

    @property
    def spent_usd(self) -> float:
        """What counts against the spending cap so far."""
        return self._governor.spent_usd

    def _refuse_elsewhere(self) -> None:
        refuse_elsewhere(self._base_url, f"point {BASE_URL_VARIABLE} at a local server")

    def _sdk(self) -> "genai.Client":
        """The SDK's client, made once. Its own retries stay off: the governor's know the server's delay and the cap."""
        self._refuse_elsewhere()
        with self._make:
            if self._client is None:
                from google import genai
                from google.genai import types

                # A local server is reached directly: no proxy, and no redirect to somebody else's.
                direct = {"trust_env": False, "follow_redirects": False} if self._local else None
                options = types.HttpOptions(
                    base_url=self._base_url, timeout=int(self._config.timeout_s * 1000), client_args=direct
                )
                self._client = genai.Client(api_key=self._key, vertexai=False, http_options=options)
            return self._client

    def _contents(self, parts: tuple[str | ImagePart, ...]) -> "list[types.Content]":
        from google.genai import types

        made = [
            types.Part.from_bytes(data=part.data, mime_type=part.mime_type)
            if isinstance(part, ImagePart)
            else types.Part.from_text(text=part)
            for part in parts
            if part
        ]
        return [types.Content(role="user", parts=made)]

    def _settings(self, request: VLMRequest) -> "types.GenerateContentConfig":
        from google.genai import types

        takes = self.spec.temperature
        if not takes and not self._told and (request.temperature is not None or request.top_p is not None):
            self._told = True
            logger.warning("%s samples in its own way: temperature and top-p are not sent to it", self.model)
        thinking = self.spec.thinking_setting(request.thinking)
        return types.GenerateContentConfig(
            system_instruction=request.system or None,
            max_output_tokens=min(request.max_output_tokens, self.spec.max_output_tokens),
            temperature=(request.temperature or 0.0) if takes else None,
            top_p=request.top_p if takes else None,
            seed=None if request.seed is None else request.seed & _LARGEST_SEED,
            thinking_config=types.ThinkingConfig(**thinking) if thinking else None,
            response_mime_type="application/json" if request.schema else None,
            response_schema=request.schema,
            automatic_continuation=False,  # a continuation is another paid request; the governor must see it
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )

    def _usage(self, response: "types.GenerateContentResponse", worst_usd: float) -> Usage:
        meta = response.usage_metadata
        if meta is None:
            return Usage(replies=1, uncertain_usd=worst_usd)
        read = (meta.prompt_token_count or 0) + (meta.tool_use_prompt_token_count or 0)
        written = (meta.candidates_token_count or 0) + (meta.thoughts_token_count or 0)
        return self.spec.usage(read, written)

    def _send(self, send) -> Any:
        """One HTTP request; failures as TryAgain or as a typed error."""
        import httpx2
        from google.genai import errors
        from pydantic import ValidationError

        try:
            return send()
        except errors.APIError as error:
            raise self._api_error(error) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise TryAgain(ModelUnavailableError(f"cannot reach {self._base_url}: {error}")) from error
        except httpx2.TimeoutException as error:
            late = ModelUnavailableError(f"no answer within {self._config.timeout_s:g} s")
            raise TryAgain(late, billed=None) from error
        except (httpx2.TransportError, errors.UnknownApiResponseError, json.JSONDecodeError) as error:
            cut = ModelUnavailableError(f"the reply broke off: {type(error).__name__}: {error}")
            raise TryAgain(cut, billed=None) from error
        except ValidationError as error:
            raise ModelSchemaError(f"the reply is not in the form of the Gemini API: {error}") from error

    def _api_error(self, error) -> TryAgain | ModelError | ConfigError:
        """What an error status means."""
        message = f"Gemini answered {error.code} {error.status or ''}: {error.message or ''}".strip()
        details = {"code": error.code, "status": error.status}
        if error.code in _TRY_AGAIN:
            return TryAgain(
                ModelUnavailableError(message, details=details),
                retry_after_s=_retry_after(error),
                everybody=error.code in (429, 503),
                # Refused (4xx, 503) or failed (500): not billed. A gateway's 504 cut off work that may have been done.
                billed=None if error.code in (408, 504) else False,
            )
        if error.code in (401, 403) or "API key" in (error.message or ""):
            return ConfigError(f"{message}; check GEMINI_API_KEY")
        if error.code == 404:
            return ConfigError(f"{message}; check the model name {self.model!r}")
        return ModelError(message, details=details)


def _complete_text(response: "types.GenerateContentResponse", usage: Usage) -> str:
    """The text of a complete answer.

    Raises:
        ModelBlockedError: Safety rules refused the prompt or the answer.
        ModelTruncatedError: It stopped at the token limit.
        ModelSchemaError: There is no answer, or it ended in another abnormal way.
    """
    details: dict[str, Any] = {"usage": vars(usage), "model_version": response.model_version or ""}
    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        reason = feedback.block_reason.value
        raise ModelBlockedError(f"the prompt was blocked: {reason}", details={**details, "block_reason": reason})
    if not response.candidates:
        raise ModelSchemaError("the reply has no candidate", details=details)
    candidate = response.candidates[0]
    reason = candidate.finish_reason.value if candidate.finish_reason is not None else "STOP"
    parts = (candidate.content.parts if candidate.content else None) or []
    text = "".join(part.text for part in parts if part.text and not part.thought)
    details |= {"finish_reason": reason, "answer": text[:2000]}
    if reason in _BLOCKED:
        raise ModelBlockedError(f"the answer was blocked: {reason}", details=details)
    if reason in _TRUNCATED:
        written = usage.output_tokens
        raise ModelTruncatedError(f"the answer stopped at the token limit after {written} tokens", details=details)
    if reason != "STOP" or not text.strip():
        raise ModelSchemaError(f"the answer ended with {reason} and {len(text)} characters", details=details)
    return text


def _retry_after(error) -> float | None:
    """Seconds that the server asks to wait: google.rpc.RetryInfo, else the Retry-After header; None without."""
    body = error.details.get("error", {}) if isinstance(error.details, dict) else {}
    for entry in body.get("details") or ():
        delay = entry.get("retryDelay") if isinstance(entry, dict) else None
        if delay is not None and (seconds := _seconds(str(delay).removesuffix("s"))) is not None:
            return seconds
    return _seconds(getattr(error.response, "headers", {}).get("retry-after", ""))


def _seconds(text: str) -> float | None:
    try:
        return max(0.0, float(text))
    except ValueError:
        return None  # a date; the exponential pause does
