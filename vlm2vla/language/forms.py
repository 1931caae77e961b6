"""The action forms behind one interface, found by configuration or by name."""

from functools import lru_cache
from typing import Protocol

from vlm2vla.config import LanguageConfig, did_you_mean
from vlm2vla.errors import ConfigError
from vlm2vla.language.rows import RowsForm
from vlm2vla.language.scale import centimetres, degrees
from vlm2vla.language.sentence import SentenceForm
from vlm2vla.language.tokens import GEMMA_UNUSED, TokensForm
from vlm2vla.types import ActionChunk


class ActionForm(Protocol):
    """Numbers <-> action text, an inverse pair: `parse(verbalize(chunk)) == quantize(chunk)`."""

    @property
    def name(self) -> str:
        """What makes the form again with `form`, e.g. "rows:0.5cm", "rows7:0.5cm:1deg" or "tokens:0.5cm:a,b,...,j"."""
        ...

    @property
    def rotation(self) -> bool:
        """Whether rows have 7 values (with rotation) or 4."""
        ...

    def quantize(self, chunk: ActionChunk) -> ActionChunk:
        """What the text can say of `chunk`: as many rows, totals within half a step, idempotent.

        Raises:
            AnnotationError: Values that are not finite, gripper commands other than 0 and 1.
        """
        ...

    def verbalize(self, chunk: ActionChunk) -> str:
        """The text.

        Raises:
            AnnotationError: As `quantize`; more rows, characters or motion in a row than text may have.
        """
        ...

    def parse(self, text: str) -> ActionChunk:
        """The numbers.

        Raises:
            ActionParseError: The text is not in this form.
        """
        ...

    def grammar(self) -> str:
        """EBNF, in the dialect of xgrammar, of what `verbalize` writes."""
        ...


_KINDS = {"rows": False, "rows7": True, "sentence": False, "sentence7": True, "tokens": False}


def make_form(config: LanguageConfig, *, tokens: tuple[str, ...] = GEMMA_UNUSED) -> ActionForm:
    """The form that `config` asks for; `tokens` are the ten digits of the token form.

    Raises:
        ConfigError: A resolution that cannot be written, or an unknown form.
    """
    return _make(config.form, config.resolution_cm, config.resolution_deg, tokens)


def form(name: str) -> ActionForm:
    """The form called `name`, as `ActionForm.name` gives it: "rows:0.5cm", "sentence7:0.5cm:1deg".

    A kind alone ("rows7") is that kind at the usual resolution.

    Raises:
        ConfigError: No such form; the message offers the closest one.
    """
    kind, *steps = name.split(":")
    if kind not in _KINDS:
        raise ConfigError(f"no action form {name!r}; {did_you_mean(kind, _KINDS)}")
    if not steps:
        return make_form(LanguageConfig(form=kind))
    tokens = tuple(steps.pop().split(",")) if kind == "tokens" and len(steps) > 1 else GEMMA_UNUSED
    suffixes = ("cm", "deg") if _KINDS[kind] else ("cm",)
    try:
        values = [
            float(step.removesuffix(suffix)) if step.endswith(suffix) else float("nan")
            for step, suffix in zip(steps, suffixes, strict=True)
        ]
    except ValueError:
        values = []
    if not values or any(value != value for value in values):
        example = f"{kind}:0.5cm:1deg" if _KINDS[kind] else f"{kind}:0.5cm"
        raise ConfigError(f"no action form {name!r}; did you mean {example!r}?")
    return _make(kind, values[0], values[-1] if _KINDS[kind] else 1.0, tokens)


@lru_cache(maxsize=64)
def _make(kind: str, resolution_cm: float, resolution_deg: float, tokens: tuple[str, ...]) -> ActionForm:
    if kind not in _KINDS:
        raise ConfigError(f"no action form {kind!r}; {did_you_mean(kind, _KINDS)}")
    length = centimetres(resolution_cm)
    angle = degrees(resolution_deg) if _KINDS[kind] else None
    if kind == "tokens":
        return TokensForm(length, tokens=tokens)
    return SentenceForm(length, angle) if kind.startswith("sentence") else RowsForm(length, angle)
