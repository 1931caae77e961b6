"""One frozen config per stage. The CLI, the studio and the docs are made from these classes.

Each field's docstring is its help text. At most twelve fields a class; cross-checks are in `__post_init__`.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlm2vla.errors import ConfigError

FormName = Literal["rows", "rows7", "sentence", "sentence7", "tokens"]
FormatName = Literal["auto", "bridge-rlds", "bridge-raw", "lerobot-v2", "lerobot-v3"]
ExportFormat = Literal["lerobot", "ecot", "trl", "sharegpt", "parquet"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the closest valid name, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


@dataclass(frozen=True)
class LanguageConfig:
    """How numbers become words."""

    form: FormName = "rows"
    """rows: the paper's [[dx, dy, dz, gripper], ...]; rows7 adds rotation; sentence and sentence7: words; tokens:
    discrete action tokens (the ablation)."""
    resolution_cm: float = 0.5
    """Smallest step of a translation in the text, centimetres."""
    resolution_deg: float = 1.0
    """Smallest step of a rotation in the text, degrees."""
    motion: Literal["reached", "commanded"] = "reached"
    """Describe what the robot reached, or what it was told."""
    merge_axis_cm: float = 2.5
    """Steps are merged until this much on one axis without change of sign ..."""
    merge_total_cm: float = 5.0
    """... or this much in all (sum over axes of the path)."""

    def __post_init__(self):
        for name in ("resolution_cm", "resolution_deg", "merge_axis_cm", "merge_total_cm"):
            if not 0 < getattr(self, name) <= 100:
                raise ConfigError(f"{name} must be above 0 and at most 100, not {getattr(self, name)}")


@dataclass(frozen=True)
class ImportConfig:
    """Index recorded episodes in the workspace (frames stay where they are)."""

    path: Path
    """File or folder of a data set: Bridge RLDS or raw, LeRobot v2.1 or v3.0."""
    format: FormatName = "auto"
    """Reader to use; auto looks at the files."""
    dataset: str = ""
    """Name to import under; the folder's or the builder's own name when empty."""
    rate_hz: float = 0.0
    """True rate of the steps where the files are wrong or silent; 0 takes the data set's."""
    limit: int = 0
    """Stop after this many episodes; 0 imports all."""

    def __post_init__(self):
        if self.rate_hz < 0 or self.limit < 0:
            raise ConfigError("rate_hz and limit cannot be negative")


@dataclass(frozen=True)
class GeminiConfig:
    """How Gemini is asked."""

    model: str = "gemini-3.8-flash"
    """Model id; it must stand in the price and capability table (vlm/models.yaml, or the file of --models)."""
    models: Path | None = None
    """Your own price and capability table (YAML), instead of the one that ships."""
    max_cost: float = 0.0
    """Stop before the bill of this run passes this many US dollars; 0 sets no cap. Each run counts from 0 again: the
    report's total_cost says what was spent in all."""
    concurrency: int = 8
    """Requests under way at the same time."""
    timeout_s: float = 120.0
    """Give up on one request after this long."""
    attempts: int = 5
    """Tries of one request before the episode is recorded as failed."""
    max_frames: int = 16
    """Frames of one episode in its contact sheets."""
    passes: Literal[1, 2] = 2
    """2: describe what happens, then segment; 1: segment at once."""
    thinking: Literal["default", "low", "medium", "high"] = "default"
    """How long the model thinks, translated to what the model takes."""
    dry_run: bool = False
    """Count tokens and estimate the cost; ask nothing that is billed."""

    def __post_init__(self):
        if self.concurrency < 1 or self.attempts < 1 or self.max_frames < 2 or self.timeout_s <= 0:
            raise ConfigError("concurrency and attempts must be at least 1, max_frames 2, timeout_s above 0")
        if self.max_cost < 0:
            raise ConfigError("max_cost cannot be negative")


@dataclass(frozen=True)
class AnnotateConfig:
    """Relabel imported episodes as subtask, motion plan and action chunk."""

    annotator: Literal["kinematic", "gemini"] = "kinematic"
    """kinematic: from the numbers, no key needed; gemini: GEMINI_API_KEY must be set."""
    dataset: str = ""
    """Only episodes of this data set."""
    episodes: tuple[str, ...] = ()
    """Only these episode ids."""
    limit: int = 0
    """At most this many episodes that were not tried before; 0 takes all."""
    retry_failed: bool = False
    """Try episodes again whose last attempt was recorded as failed."""
    redo: bool = False
    """Annotate again what is already annotated (with Gemini this is paid again)."""
    mix_versions: bool = False
    """Go on when another version of the model answers than wrote the labels that are already there."""

    def __post_init__(self):
        if self.limit < 0:
            raise ConfigError("limit cannot be negative")


@dataclass(frozen=True)
class CheckConfig:
    """Check whether annotations are well formed and true to the numbers."""

    dataset: str = ""
    """Only episodes of this data set."""
    show: int = 20
    """How many findings to print, the worst first."""


@dataclass(frozen=True)
class ExportConfig:
    """Write reviewed annotations as a data set."""

    out: Path
    """Folder to write; it must not exist or be empty."""
    format: ExportFormat = "lerobot"
    """lerobot: v3.0 with language columns; ecot: reasoning JSON; trl: prompt and completion; sharegpt: messages;
    parquet: one table."""
    include_unreviewed: bool = False
    """Also labels that nobody has accepted yet."""
    dataset: str = ""
    """Only episodes of this data set."""
    subtask_columns: bool = False
    """lerobot: also write subtask_index and subtasks.parquet of lerobot 0.4.4 to 0.5.1."""
    extra_samples: bool = True
    """trl and sharegpt: add the paper's subtask-completed and movement-direction samples."""
    seed: int = 0
    """Seed of the sampling of extra samples."""


TaskName = Literal["pick-up", "pick-and-place", "pick-place-lift", "pick-up-translated", "pick-up-reference"]


@dataclass(frozen=True)
class TrialsConfig:
    """Drive tasks in closed loop and judge them by the simulator's truth."""

    robot: Literal["simulated"] = "simulated"
    """Robot to drive; the simulator's truth is needed for judging."""
    policy: Literal["expert"] = "expert"
    """Who drives: the scripted expert."""
    task: TaskName = "pick-up"
    """Task family."""
    trials: int = 10
    """How many tasks, each with a seed of its own."""
    seed: int = 0
    """Seed of the first one."""
    workers: int = 0
    """Processes; 0 takes one per core."""
    keep: bool = False
    """Keep every rollout in the workspace, as an episode to review with its trace."""

    def __post_init__(self):
        if self.trials < 1 or self.seed < 0 or self.workers < 0:
            raise ConfigError("trials must be at least 1, seed and workers cannot be negative")


@dataclass(frozen=True)
class RecordConfig:
    """Record the scripted expert as a LeRobot v3.0 data set."""

    out: Path
    """Folder to write; it must not exist or be empty."""
    task: Literal["pick-up", "pick-and-place", "pick-place-lift"] = "pick-up"
    """Task family."""
    count: int = 10
    """How many episodes; seeds at which the expert fails are left out."""
    seed: int = 0
    """Seed of the first one; equal seeds give equal states and actions."""
    compact: bool = False
    """Small videos rather than quick random reads: for data sets that travel."""


@dataclass(frozen=True)
class StudioConfig:
    """Serve the studio."""

    host: str = "127.0.0.1"
    """Address to listen on; another than this computer's own needs a password."""
    port: int = 7860
    """Port to listen on."""
    password: str = ""
    """Password that everybody must give, with a name of their choice (or set VLM2VLA_PASSWORD)."""
    allow_hosts: tuple[str, ...] = ()
    """Further host names under which browsers may reach the studio."""
    sample: bool = True
    """Open an empty workspace on the sample episodes that ship."""
