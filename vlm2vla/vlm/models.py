"""The price and capability table of models: what a token costs and what a model takes.

The table is a YAML file with a date (`models.yaml`), which a user may replace. Knows no network.
"""

import datetime
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vlm2vla.config import did_you_mean
from vlm2vla.errors import ConfigError
from vlm2vla.vlm.protocol import Estimate, ImagePart, Thinking, Usage, VLMRequest

SHIPPED_TABLE = Path(__file__).with_name("models.yaml")
# What one request of the annotation prompts needs, thinking included; a guess until replies have been paid for.
TYPICAL_OUTPUT_TOKENS = 1500


_NUMBER = re.compile(r" ?-?\d+(?:\.\d+)?")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Strict):
    """US dollars per million tokens, valid up to and including `until`."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    until: datetime.date | None = None


class ModelSpec(_Strict):
    """One model of the table; the fields are explained at the head of models.yaml."""

    prices: tuple[Price, ...] = Field(min_length=1)
    thinking: Literal["level", "budget", "none"]
    levels: dict[Literal["lowest", "low", "medium", "high"], str | int] = Field(default_factory=dict)
    temperature: bool = False
    max_output_tokens: int = Field(gt=0)
    image_tokens: int = Field(gt=0)
    tile_px: int | None = Field(default=None, gt=0)
    retires: datetime.date | None = None
    replaced_by: str = ""

    @model_validator(mode="after")
    def _levels_fit(self) -> "ModelSpec":
        kind = {"level": str, "budget": int, "none": object}[self.thinking]
        wrong = [name for name, value in self.levels.items() if not isinstance(value, kind)]
        if wrong or (self.thinking != "none" and len(self.levels) < 4):
            raise ValueError(
                f"levels lowest, low, medium and high must be {kind.__name__} for thinking: {self.thinking}"
            )
        return self

    def price(self, day: datetime.date | None = None) -> Price:
        """The price of a day (today); the last row when all have passed."""
        day = day or datetime.datetime.now(datetime.UTC).date()
        return next((row for row in self.prices if row.until is None or day <= row.until), self.prices[-1])

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars."""
        price = self.price()
        return (input_tokens * price.input + output_tokens * price.output) / 1e6

    def usage(self, input_tokens: int, output_tokens: int) -> Usage:
        """One reply."""
        return Usage(1, input_tokens, output_tokens, self.cost(input_tokens, output_tokens))

    def thinking_setting(self, thinking: Thinking) -> dict[str, str | int]:
        """The keyword that the model takes for `thinking`; {} leaves it to the model.

        Raises:
            ConfigError: The model does not think.
        """
        if thinking == "default":
            return {}
        if self.thinking == "none":
            raise ConfigError(f"this model does not think; set thinking to default instead of {thinking}")
        return {"thinking_level" if self.thinking == "level" else "thinking_budget": self.levels[thinking]}

    def tokens_of_images(self, images: Iterable[ImagePart]) -> int:
        """Upper bound of the tokens of some images."""
        total = 0
        for image in images:
            width, height = image.size_px
            tiles = math.ceil(width / self.tile_px) * math.ceil(height / self.tile_px) if self.tile_px else 1
            total += max(1, tiles) * self.image_tokens
        return total

    def estimate(self, request: VLMRequest, counted: int | None = None) -> Estimate:
        """What a request takes; `counted` are prompt tokens that the provider counted."""
        schema = len(str(request.schema.model_json_schema())) if request.schema else 0
        images = self.tokens_of_images(request.images)
        # A token is never less than one byte.
        expected = counted if counted is not None else tokens_of_text(request.text) + schema // 3 + images
        bound = len(request.text.encode()) + schema + images
        limit = min(request.max_output_tokens, self.max_output_tokens)
        output = min(TYPICAL_OUTPUT_TOKENS, limit)
        worst = self.cost(max(bound, expected), limit)
        return Estimate(expected, output, self.cost(expected, output), worst, counted is not None)

    def warning(self, name: str, day: datetime.date | None = None) -> str:
        """A sentence when the model is near or past its end, else ""."""
        day = day or datetime.datetime.now(datetime.UTC).date()
        if self.retires is None or day < self.retires - datetime.timedelta(days=60):
            return ""
        return f"{name} retires on {self.retires}; requests are then answered and billed as {self.replaced_by}"


def tokens_of_text(text: str) -> int:
    """Estimate of the tokens of a text: prose has about four characters a token, JSON and the like three.

    Numbers have one token a character: Gemini's tokenizer splits digits, and the space before them stays alone.
    """
    numbers = sum(map(len, _NUMBER.findall(text)))
    return numbers + -(-(len(text) - numbers) // 3)


class ModelTable(_Strict):
    """All models of one file."""

    checked: datetime.date
    source: str = ""
    models: dict[str, ModelSpec] = Field(min_length=1)

    def find(self, name: str, path: Path = SHIPPED_TABLE) -> ModelSpec:
        """The model called `name`.

        Raises:
            ConfigError: It is not in the table; the message says how to add it.
        """
        if name in self.models:
            return self.models[name]
        raise ConfigError(
            f"no model {name!r} in {path.name} (checked {self.checked}); {did_you_mean(name, self.models)}. "
            f"To add it, copy {path}, give the copy with --models, and add under `models:` a row like "
            f'"{name}: {{prices: [{{input: 1.0, output: 5.0}}], thinking: level, levels: {{lowest: LOW, low: LOW, '
            'medium: MEDIUM, high: HIGH}, max_output_tokens: 65536, image_tokens: 1120}"'
        )


def load_models(path: Path | None = None) -> ModelTable:
    """Read a table; the one that ships without a path.

    Raises:
        ConfigError: The file is missing or not a table; the message names the entry.
    """
    import yaml

    path = path or SHIPPED_TABLE
    try:
        return ModelTable.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"cannot read the model table {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(key) for key in first["loc"]) or "the file"
        raise ConfigError(f"{path} is not a model table: {where}: {first['msg']}") from error
