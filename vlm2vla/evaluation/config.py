"""Configs of the evaluation commands. The CLI and the docs are made from these classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlm2vla.config import PolicyConfig, RobotName
from vlm2vla.errors import ConfigError

PAPER_VARIANTS = "lora,lora-tokens,full,full-tokens"


def names_of(models: str) -> tuple[str, ...]:
    """The names of a comma-separated list, each once.

    Raises:
        ConfigError: There is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in models.split(",") if name.strip()))
    if not names:
        raise ConfigError("name at least one model, as in --models base,lora")
    return names


@dataclass(frozen=True)
class VqaConfig:
    """Ask models the questions of a VQA set and tell what the fine-tuned ones kept of the base."""

    models: str = "base,lora"
    """Names or paths of models, separated by commas; the first one is the base that the others are compared with."""
    set: str = "tabletop"
    """A VQA set: the name of one that ships, a folder of ours, a VLMEvalKit .tsv, or .parquet."""
    limit: int = 0
    """At most this many questions, spread over the set; 0 asks all."""
    circular: bool = False
    """Ask lettered questions in every rotation of their options; right only if all of them are (MMBench)."""
    blank: bool = False
    """Ask everything with grey pictures too: what is right then was not seen."""
    repeats: int = 1
    """Ask everything this many times; with a temperature above 0 this tells whether a model agrees with itself."""
    temperature: float = 0.0
    """0 takes the most probable words."""
    seed: int = 0
    """Of the sampling."""
    max_new_tokens: int = 64
    """Bound of an answer; the same for all models."""
    batch: int = 8
    """Questions at once."""
    retry_failed: bool = False
    """Ask again what ended with an error."""

    def __post_init__(self):
        names_of(self.models)
        if self.limit < 0 or self.temperature < 0:
            raise ConfigError("limit and temperature cannot be negative")
        if min(self.repeats, self.max_new_tokens, self.batch) < 1:
            raise ConfigError("repeats, max_new_tokens and batch must be at least 1")


@dataclass(frozen=True)
class ActionsConfig:
    """Open loop: compare the chunks that models write with what was recorded."""

    models: str = "lora"
    """Names or paths of models, separated by commas."""
    data: str = "simulated"
    """simulated: held-out episodes of the scripted expert, recorded now; else the path of a data set."""
    episodes: int = 20
    """Episodes to record, or to take from the data set; 0 takes all."""
    limit: int = 0
    """At most this many chunks, spread over them; 0 asks for all."""
    plan: Literal["own", "given"] = "own"
    """own: the model writes the plan, then the chunk; given: the recorded plan is put before it."""
    plans: Literal["", "words", "measured"] = ""
    """Words of recorded plans: directions only, or with centimetres. Empty: as the model was trained; where nothing
    tells that, measured for models that ship and words for others."""
    row_cm: float = 4.5
    """Rows of recorded chunks are at most this long, as the embedded models were trained; 0 keeps the paper's rule."""
    verifier: bool = True
    """Also ask whether subtasks are completed, and compare the lists of subtasks."""
    likelihood: bool = True
    """Also score recorded chunks in words and in tokens (how far is each from what the model would write)."""
    retry_failed: bool = False
    """Ask again what ended with an error."""

    def __post_init__(self):
        names_of(self.models)
        if self.episodes < 0 or self.limit < 0 or self.row_cm < 0:
            raise ConfigError("episodes, limit and row_cm cannot be negative")


@dataclass(frozen=True)
class SuiteConfig:
    """Drive every task family with every variant, the same seeds for all, and the scripted expert as ceiling."""

    suite: str = "paper"
    """Which suite: paper (five task families), or turned (one that needs the wrist; expert-4dof drives without it)."""
    models: str = PAPER_VARIANTS
    """Names of models, separated by commas; the expert drives too."""
    trials: int = 40
    """Trials of each model in each task family."""
    seed: int = 0
    """Seed of the first one; held apart from training up to 99,999."""
    workers: int = 0
    """Processes; 0 takes one per core."""
    expert: bool = True
    """Let the scripted expert drive the same seeds."""
    verifier: str = "kinematic"
    """Who says that a subtask is done: kinematic, self, or the name of a model."""
    max_cycles: int = 30
    """Cycles of a model before a trial ends as a failure."""
    max_rows: int = PolicyConfig.max_rows
    """Rows of a chunk that a model carries out before it looks again; 0 takes the whole chunk."""
    back_after: int = PolicyConfig.back_after
    """Cycles in vain after which the subtask before is taken up again; 0: never, as in the paper."""
    parse: Literal["none", "retry", "grammar"] = "retry"
    """What keeps chunks parsable."""
    subtasks: bool = True
    """False: without the level of subtasks (ablation)."""
    plans: Literal["written", "none", "false"] = "written"
    """Ablations: without plans, or with every direction of the plan turned round."""
    temperature_subtasks: float = PolicyConfig.temperature_subtasks
    """Sampling of the list of subtasks; the paper takes 1.0 out of distribution."""
    robot: RobotName = "simulated"
    """Simulated robot that all of them drive; simulated-long has another hand, reach and camera than the data."""
    retry_errors: bool = False
    """Drive trials again that ended with an error."""

    def __post_init__(self):
        names_of(self.models)
        if self.trials < 1 or self.seed < 0 or self.workers < 0 or self.max_cycles < 1:
            raise ConfigError("trials and max_cycles must be at least 1, seed and workers cannot be negative")
        if self.temperature_subtasks < 0:
            raise ConfigError("temperature_subtasks cannot be negative")
        if self.seed + self.trials > 100_000:
            raise ConfigError("seeds from 100,000 on are not held apart from training")


@dataclass(frozen=True)
class ReportConfig:
    """Write what was measured as one HTML page and as Markdown, each number with the run it comes from."""

    out: Path | None = None
    """Folder to write; WORKSPACE/evaluations/report when not given."""
    evidence: tuple[Path, ...] = ()
    """Further folders with stored results, such as docs/evidence."""
    examples: int = 24
    """Questions of each comparison shown in the gallery."""


@dataclass(frozen=True)
class HarnessConfig:
    """Let another harness ask, over HTTP, in its own environment (`make bench-vqa` makes that)."""

    harness: Literal["", "lmms-eval"] = ""
    """lmms-eval: the field's own benchmarks over our served models; its numbers are compared among each other only."""
    tasks: str = "local"
    """Its tasks, separated by commas, such as mmbench_en_dev_static; local: the set of --set, scored by its rules."""
    server: str = ""
    """Address of a server that has the models, such as http://127.0.0.1:8000/v1; one is started when empty."""
    python: Path | None = None
    """Python of its environment; .venv-vqa/bin/python of this checkout when not given."""
