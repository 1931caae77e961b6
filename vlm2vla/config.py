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
    recorded: bool = False
    """kinematic: take the subtasks that a recording came with (those of the simulator are true), where it has any."""
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


@dataclass(frozen=True)
class PolicyConfig:
    """How a vision-language model is asked for subtasks, plans and chunks. Temperatures are the paper's."""

    form: str = "rows:0.5cm"
    """Name of the action form that it was trained on; weights that tell theirs are asked for that one."""
    parse: Literal["none", "retry", "grammar"] = "retry"
    """What keeps chunks parsable. none: one try; retry: the error is said back and the chunk written again; grammar:
    only text of the form can be written."""
    retries: int = 3
    """Further tries of a text that does not parse; then the robot holds still."""
    subtasks: bool = True
    """False: the task itself is the one subtask (ablation)."""
    plans: Literal["written", "none", "false"] = "written"
    """Ablations. none: chunks without a plan; false: every direction of the plan is turned round first."""
    temperature_subtasks: float = 0.5
    """Sampling of the list of subtasks; the paper takes 1.0 out of distribution."""
    temperature_plan: float | None = None
    """Sampling of plans. None takes what the weights ask for, and the paper's 0.1 where they do not."""
    temperature_chunk: float = 0.5
    """Sampling of chunks."""
    top_p: float = 0.95
    """Smallest set of tokens whose probabilities sum to this much."""
    seed: int = 0
    """Equal seeds give equal words on one machine."""
    max_rows: int = 3
    """Carry out only this many rows before looking again; 0 takes the whole chunk, as the paper does."""
    back_after: int = 2
    """After so many cycles in a row that should have finished a subtask and did not, the one before it is taken up
    again (at the first one, all are written anew): a miss is not tried for ever from where it cannot succeed. 0: never,
    as in the paper."""

    def __post_init__(self):
        if min(self.retries, self.max_rows, self.back_after) < 0:
            raise ConfigError("retries, max_rows and back_after cannot be negative")
        temperatures = (self.temperature_subtasks, self.temperature_plan or 0.0, self.temperature_chunk)
        if min(temperatures) < 0 or not 0 < self.top_p <= 1:
            raise ConfigError("temperatures cannot be negative, and top_p must be above 0 and at most 1")


RobotName = Literal["simulated", "simulated-long"]
TaskName = Literal[
    "pick-up", "pick-and-place", "pick-place-lift", "pick-up-translated", "pick-up-reference", "pick-up-turned"
]


@dataclass(frozen=True)
class TrialsConfig:
    """Drive tasks in closed loop and judge them by the simulator's truth."""

    robot: RobotName = "simulated"
    """Robot to drive, in the simulator, whose truth judges: the Stretch RE1, or (simulated-long) one with a longer
    hand, other reach and another place of the camera, that takes the same actions."""
    policy: str = "expert"
    """Who drives: expert, expert-4dof (cannot turn its wrist), replay, typed, or the name of a model (see `models
    list`)."""
    verifier: str = "kinematic"
    """Who says that a subtask is done while a model drives: kinematic (from the numbers), self (the model looks), or
    the name of another model. The expert is its own verifier."""
    task: TaskName = "pick-up"
    """Task family; pick-up-turned is none of the paper's: a box that only a turned wrist can grasp."""
    trials: int = 10
    """How many tasks, each with a seed of its own."""
    seed: int = 0
    """Seed of the first one."""
    workers: int = 0
    """Processes; 0 takes one per core."""
    held_out: bool = False
    """Word the tasks as no recording is worded."""
    max_cycles: int = 30
    """Cycles of plan and chunk of a model before a trial ends as a failure."""
    keep: bool = False
    """Keep every rollout in the workspace, as an episode to review with its trace."""

    def __post_init__(self):
        if self.trials < 1 or self.seed < 0 or self.workers < 0:
            raise ConfigError("trials must be at least 1, seed and workers cannot be negative")


@dataclass(frozen=True)
class ToldConfig:
    """What the policies `replay` and `typed` are told."""

    episode: str = ""
    """replay: id of an episode, as the queue of the Annotate tab and `rollout --keep` name it."""
    say: str = ""
    """typed: action language, one chunk after the other, such as "move forward 4 cm; close the gripper"."""
    say_file: Path | None = None
    """typed: the same from a file, one chunk a line; empty lines and lines that begin with # are left out."""

    def check(self, policy: str) -> None:
        """Whether this is what `policy` needs.

        Raises:
            ConfigError: Something is missing, or told to a policy that does not listen.
        """
        if self.episode and policy != "replay":
            raise ConfigError(f"an episode is for --policy replay, not for {policy}")
        if (self.say or self.say_file) and policy != "typed":
            raise ConfigError(f"words are for --policy typed, not for {policy}")
        if policy == "replay" and not self.episode:
            raise ConfigError("say which episode: --episode ID")
        if policy == "typed" and bool(self.say) == bool(self.say_file):
            raise ConfigError(
                'say what to do, in one way: --say "move forward 4 cm; close the gripper", or --say-file FILE'
            )


@dataclass(frozen=True)
class RecordConfig:
    """Record the scripted expert as a LeRobot v3.0 data set."""

    out: Path
    """Folder to write; it must not exist or be empty."""
    task: Literal["pick-up", "pick-and-place", "pick-place-lift", "pick-up-turned"] = "pick-up"
    """Task family; pick-up-turned holds rotation: label it with --form rows7 or sentence7."""
    count: int = 10
    """How many episodes; seeds at which the expert fails are left out."""
    seed: int = 1_000_000
    """Seed of the first one; equal seeds give equal states and actions. Those below 100,000 are driven by rollouts:
    whoever trains on them has seen the test."""
    compact: bool = False
    """Small videos rather than quick random reads: for data sets that travel."""
    cameras: tuple[Literal["external", "head"], ...] = ("external", "head")
    """Cameras to record; one is twice as fast as two."""
    mistakes: float = 0.2
    """Share of the episodes in which the expert misses once on purpose and recovers."""
    scatter: float = 0.0
    """Share of the episodes that begin near the target, or anywhere over the table, instead of at the start pose."""
    robot: RobotName = "simulated"
    """Simulated robot, see rollout."""

    def __post_init__(self):
        if self.count < 1 or self.seed < 0 or not self.cameras:
            raise ConfigError("count must be at least 1, seed not negative, and cameras not empty")
        if not (0 <= self.scatter <= 1 and 0 <= self.mistakes <= 1):
            raise ConfigError("scatter and mistakes are shares, from 0 to 1")


@dataclass(frozen=True)
class PicturesConfig:
    """Labelled pictures of the simulated table with questions, for pretraining and for testing what a model sees."""

    out: Path
    """Folder to write; a set that was begun there with the same settings is finished."""
    count: int = 1000
    """How many pictures."""
    seed: int = 10_000_000
    """Seed of the first scene: 10,000,000 and up for pretraining, 20,000,000 and up for held-out sets."""
    questions: int = 40
    """Most questions about one picture."""
    texts: int = 30_000
    """Questions without a picture."""
    processes: int = 1
    """Processes side by side; the set is the same for any number."""
    held_out: bool = False
    """Write a small VQA set instead (items.jsonl and JPEGs): few questions per picture, balanced over the skills."""


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
