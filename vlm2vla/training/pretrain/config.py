"""Sizes of the embedded model and settings of its pretraining, as frozen values. Knows neither torch nor pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlm2vla.config import did_you_mean
from vlm2vla.errors import ConfigError

StageName = Literal["tokenizer", "tower", "language", "join", "gate"]
STAGES: tuple[StageName, ...] = ("tokenizer", "tower", "language", "join", "gate")
"""In the order in which they run; tower and language do not need each other."""

THINGS = 100
"""In patches.npy this and more is the gripper; smaller numbers are indices of things, -1 is nothing."""


@dataclass(frozen=True)
class VlmShape:
    """Sizes of a small Gemma 3 with its SigLIP tower.

    Attributes:
        px, patch: Side of the picture and of one patch, pixels; one image token per patch.
        vision_width, vision_layers, vision_heads, vision_ffn: The tower.
        width, layers, heads, kv_heads, ffn: The language model; the width of a head is width / heads.
        vocabulary: Tokens, at most (training of the tokenizer may end with fewer).
    """

    px: int = 220
    patch: int = 22
    vision_width: int = 192
    vision_layers: int = 6
    vision_heads: int = 6
    vision_ffn: int = 576
    width: int = 192
    layers: int = 5
    heads: int = 6
    kv_heads: int = 3
    ffn: int = 512
    vocabulary: int = 2560

    def __post_init__(self):
        for whole, part in (
            ("px", "patch"),
            ("vision_width", "vision_heads"),
            ("width", "heads"),
            ("heads", "kv_heads"),
        ):
            if getattr(self, whole) % getattr(self, part):
                raise ConfigError(f"{whole} {getattr(self, whole)} is not a multiple of {part} {getattr(self, part)}")

    @property
    def grid(self) -> int:
        """Patches on a side of the picture."""
        return self.px // self.patch

    @property
    def image_tokens(self) -> int:
        """Image tokens of one picture."""
        return self.grid**2


POSITIONS = 2048
"""Longest sequence of the embedded model, tokens."""


@dataclass(frozen=True)
class SoftConfig:
    """The space of soft image tokens; equal values give equal vectors on any machine.

    Attributes:
        width: Of the language model.
        grid: Patches on a side.
        seed: Of the fixed vectors.
    """

    width: int = 192
    grid: int = 10
    seed: int = 20260


@dataclass(frozen=True)
class Stage:
    """How long and how fast one stage learns.

    Attributes:
        steps: Optimizer steps.
        batch: Pictures in one step.
        lr: Peak learning rate.
        decay: Share of the steps, at the end, over which the learning rate falls to nearly nothing.
        every_s: Seconds between two checkpoints with a look at held-out pictures.
    """

    steps: int
    batch: int
    lr: float
    decay: float = 0.4
    every_s: float = 180.0


@dataclass(frozen=True)
class Preset:
    """Everything that decides what comes out: sizes, pictures, stages."""

    name: str
    shape: VlmShape
    soft: SoftConfig
    pictures: int
    pictures_seed: int
    tower: Stage
    language: Stage
    tokens: Stage
    """Language model on the tower's own tokens, before both are trained together."""
    join: Stage


PRESETS = {
    "embedded": Preset(
        name="embedded",
        shape=VlmShape(),
        soft=SoftConfig(),
        pictures=24_000,
        pictures_seed=10_000_000,
        tower=Stage(steps=18_000, batch=20, lr=1.3e-3, decay=0.5),
        language=Stage(steps=3200, batch=8, lr=0.02, decay=0.05),
        tokens=Stage(steps=360, batch=8, lr=0.02, decay=0.05),
        join=Stage(steps=5000, batch=8, lr=0.012, decay=0.7),
    ),
}


def preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        ConfigError: There is none.
    """
    if name not in PRESETS:
        raise ConfigError(f"no pretraining preset {name!r}; {did_you_mean(name, PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True)
class PretrainConfig:
    """Make the embedded VLM from pictures of the simulator."""

    preset: Literal["embedded"] = "embedded"
    """Sizes and schedule."""
    stage: Literal["all", "tokenizer", "tower", "language", "join", "gate"] = "all"
    """One stage, or all of them in order."""
    pictures: Path | None = None
    """Folder that the command pictures has made; without it the pictures are rendered first, in the workspace."""
    run: str = "embedded"
    """Name of the run: its folder in the workspace, with checkpoints and metrics."""
    out: Path | None = None
    """Also write the finished model here."""
    max_steps: int = 0
    """At most so many steps of each stage, on a small set of pictures; 0 takes the preset's."""
    resume: bool = False
    """Go on with a run that was stopped."""
    seed: int = 0
    """Seed of weights and of the order of questions."""
    threads: int = 1
    """Threads of the computation."""

    def __post_init__(self):
        if self.max_steps < 0 or self.seed < 0 or self.threads < 1:
            raise ConfigError("max_steps and seed cannot be negative, threads must be at least 1")
        preset(self.preset)
