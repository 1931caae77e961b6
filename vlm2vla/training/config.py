"""What a fine-tuning run is made of: presets, variants and the flags of `train`. Knows no torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from vlm2vla.config import LanguageConfig, did_you_mean
from vlm2vla.errors import ConfigError
from vlm2vla.language import GEMMA_UNUSED, make_form

PresetName = Literal["embedded", "gemma3-4b", "paper-gemma3-12b"]
Variant = Literal["lora", "full", "lora-tokens", "full-tokens"]
Plans = Literal["words", "measured"]
Precision = Literal["bfloat16", "float32", "mixed"]
Packing = Literal["shared", "plain"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)

# All linear layers of the language model, and nothing of the vision tower (Gemma, and most others that name them so).
LORA_TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"


@dataclass(frozen=True)
class Mixture:
    """How often each kind of sample is shown in one pass over the data.

    Attributes:
        starts: Later starts per subtask (see `vlm2vla.dataset.later_starts`).
        early: Starts per subtask from before it begins (see `vlm2vla.dataset.early_starts`).
        failed_attempts: Also teach subtasks that had to be done again later in the same words.
        completed: Share of the subtask-completed samples.
        direction: Share of the movement-direction samples.
        replay: VQA groups for each group of action samples; needs `--replay`.
        plan_weight: How many times as much a token of a plan counts as one of another answer that is computed with it
            (the `per_device` groups held at once; shared packing only). Together they count as many tokens as they
            are, so what a plan gains the others lose; groups without a plan stay as they were. Its few numbers decide
            where the robot goes; a chunk has many more tokens, and most of them follow from the plan.
        held_out: Share of the episodes that are kept back to measure the loss on.
    """

    starts: int = 2
    early: int = 0
    failed_attempts: bool = True
    completed: float = 0.5
    direction: float = 0.5
    replay: float = 0.0
    plan_weight: float = 1.0
    held_out: float = 0.05

    def __post_init__(self):
        shares = (self.completed, self.direction, self.held_out)
        if not all(0 <= share <= 1 for share in shares) or self.held_out > 0.5:
            raise ConfigError("completed and direction are 0 to 1, held_out 0 to 0.5")
        if min(self.starts, self.early, self.replay) < 0 or self.plan_weight <= 0:
            raise ConfigError("starts, early and replay cannot be negative, plan_weight is above 0")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out of a run, besides data and seed.

    Attributes:
        name: Of the preset.
        base: Name in the model registry, folder or hub id.
        form: How actions are written, as `vlm2vla.language.form` takes it.
        temperature_plan: At which a policy samples plans; written beside the weights.
        row_cm: Straight ways are said in rows of equal length, at most this long; 0 keeps the rows of the labels.
        plans: words: directions only, as the paper's and as labels say them; measured: with centimetres, told from the
            chunk. What is far is then read off the image once, in the plan, and the chunk only cuts it into rows.
        lora_rank, lora_alpha: Size and scale of the adapter.
        learning_rate: Of LoRA; `full_learning_rate` of full fine-tuning.
        steps: Optimizer steps; 0 goes through the data `epochs` times.
        warmup: Share of the steps over which the learning rate rises; then it falls in a line to 0.
        batch: Groups of samples (shared) or samples (plain) of one optimizer step. A run uses one device.
        per_device: How many of them it holds at once; the rest is accumulated.
        max_tokens: Longest sequence; nothing is ever cut, a longer sample is left out and counted.
        packing: shared: image and common beginning of several samples are computed once; plain: one sample each, by
            trl's SFTTrainer as it is.
        precision: Of weights and arithmetic; mixed: float32 weights, and on a GPU steps in bfloat16 arithmetic.
        checkpointing: Compute activations again on the way back, to save memory.
        save_every, eval_every: Steps between checkpoints, and between looks at the held-out loss.
        mixture: What is shown how often.
    """

    name: str
    base: str
    form: str = "rows:0.5cm"
    temperature_plan: float = 0.1
    row_cm: float = 0.0
    plans: Plans = "words"
    lora_rank: int = 16
    lora_alpha: int = 32
    learning_rate: float = 5e-5
    full_learning_rate: float = 1e-5
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    steps: int = 0
    epochs: float = 1.0
    warmup: float = 0.0
    batch: int = 8
    per_device: int = 1
    max_tokens: int = 1024
    packing: Packing = "shared"
    precision: Precision = "bfloat16"
    checkpointing: bool = True
    save_every: int = 200
    eval_every: int = 200
    mixture: Mixture = Mixture()

    @property
    def weights_dtype(self) -> str:
        """Format of the weights in memory, as torch names it."""
        return "bfloat16" if self.precision == "bfloat16" else "float32"


PRESETS: dict[str, Recipe] = {
    # The paper's Table 4. It names neither warm-up, weight decay nor dropout: none of them here.
    "paper-gemma3-12b": Recipe(
        name="paper-gemma3-12b",
        base="google/gemma-3-12b-it",
        packing="plain",
        mixture=Mixture(starts=0, completed=1.0, direction=1.0, held_out=0.01),
    ),
    "gemma3-4b": Recipe(
        name="gemma3-4b",
        base="google/gemma-3-4b-it",
        warmup=0.03,
        max_tokens=2048,
        mixture=Mixture(held_out=0.02),
    ),
    "embedded": Recipe(
        name="embedded",
        base="base",
        # Its most probable number is too often a small one: what is rare near an object is spread over many numbers.
        temperature_plan=0.6,
        row_cm=4.5,
        plans="measured",
        learning_rate=5e-3,
        full_learning_rate=1e-3,
        steps=1500,
        warmup=0.03,
        batch=8,
        per_device=1,  # on a CPU filling up costs more than it saves
        precision="mixed",
        checkpointing=False,
        save_every=100,
        eval_every=100,
        mixture=Mixture(starts=3, early=2, failed_attempts=False, completed=0.2, direction=0.1, plan_weight=8.0),
    ),
}

# Digits of the token variants for a preset's own base, found by `vlm2vla models tokens`; else Gemma's reserved tokens.
_DIGITS = {"embedded": ("有几个", "Signs", "Opposite", "Row", "Count", "Go", "lemon", "Was", "Number", "Draw")}


@dataclass(frozen=True)
class TrainConfig:
    """Fine-tune a VLM on action language."""

    preset: PresetName = "embedded"
    """Base model and schedule."""
    variant: Variant = "lora"
    """lora or full fine-tuning, of actions in words or (-tokens) in discrete action tokens."""
    base_model: str = ""
    """Another base: name, folder or hub id of a Gemma 3; with packing plain of another image-text-to-text model that is
    given tokens, masks and pixel_values, and nothing else."""
    dataset: str = ""
    """Only episodes of this data set; all of them when empty."""
    include_unreviewed: bool = False
    """Also labels that nobody has accepted yet."""
    replay: Path | None = None
    """Mix in questions about pictures (VQA): a folder that the command pictures has made."""
    run: str = ""
    """Name of the run; a free one is chosen when empty. With --resume: which run, the newest of preset and variant."""
    resume: bool = False
    """Go on with a run that was stopped or killed, from its last checkpoint."""
    max_steps: int = 0
    """Stop at this step, with a checkpoint; the schedule stays that of the whole run. 0 runs to the end."""
    seed: int = 0
    """Seed of adapter, order and choice of samples."""
    threads: int = 0
    """Threads of the computation; 0 leaves it to torch."""

    def __post_init__(self):
        if self.max_steps < 0 or self.seed < 0 or self.threads < 0:
            raise ConfigError("max_steps, seed and threads cannot be negative")


@dataclass(frozen=True)
class TuneConfig:
    """What a run changes of its preset; negative or empty values leave the preset's."""

    learning_rate: float = -1.0
    """Peak learning rate."""
    steps: int = -1
    """Optimizer steps of the whole run."""
    batch: int = -1
    """Groups of samples in one step."""
    rank: int = -1
    """Rank of the adapter; alpha becomes twice as much."""
    form: Literal["", "rows", "rows7", "sentence", "sentence7"] = ""
    """How actions are written; rows7 and sentence7 hold rotation, which labels in 7-DoF forms have."""
    action_tokens: tuple[str, ...] = ()
    """Token variants: ten tokens of the base for the digits 0 to 9; `models tokens` finds some that would do."""
    plans: Literal["", "words", "measured"] = ""
    """Motion plans in directions only, or with centimetres."""
    packing: Literal["", "shared", "plain"] = ""
    """shared or plain, see the README."""
    starts: int = -1
    """Later starts per subtask."""
    replay_share: float = -1.0
    """VQA groups for each group of action samples."""
    save_every: int = -1
    """Steps between checkpoints."""
    start_from: Path | None = None
    """lora: begin with this adapter (of the same shape, perhaps of an earlier base) instead of a fresh one."""


def recipe_of(config: TrainConfig, tune: TuneConfig | None = None) -> Recipe:
    """The recipe of a run: preset, variant and what the flags change.

    Full fine-tuning keeps float32 weights ("mixed") where the preset has them in bfloat16, whose neighbours are further
    apart than most of its steps are long: rounding would undo them. An adapter is float32 over any weights.

    Raises:
        ConfigError: No such preset, or a value that cannot be right.
    """
    if config.preset not in PRESETS:
        raise ConfigError(f"no preset {config.preset!r}; {did_you_mean(config.preset, PRESETS)}")
    if config.variant not in VARIANTS:
        raise ConfigError(f"no variant {config.variant!r}; {did_you_mean(config.variant, VARIANTS)}")
    recipe, tune = PRESETS[config.preset], tune or TuneConfig()
    mixture = recipe.mixture
    if tune.starts >= 0:
        mixture = replace(mixture, starts=tune.starts)
    if tune.replay_share >= 0:
        mixture = replace(mixture, replay=tune.replay_share)
    elif config.replay is not None and not mixture.replay:
        mixture = replace(mixture, replay=0.25)
    full = config.variant.startswith("full")
    changes = {
        "base": config.base_model or recipe.base,
        "form": _form(config, tune, recipe),
        "learning_rate": recipe.full_learning_rate if full else recipe.learning_rate,
        "precision": "mixed" if full and recipe.precision == "bfloat16" else recipe.precision,
        "mixture": mixture,
    }
    for name, value in (("learning_rate", tune.learning_rate), ("steps", tune.steps), ("batch", tune.batch)):
        if value >= 0:
            changes[name] = value
    if tune.rank > 0:
        changes |= {"lora_rank": tune.rank, "lora_alpha": 2 * tune.rank}
    given = {"plans": tune.plans, "packing": tune.packing, "save_every": max(0, tune.save_every)}
    changes |= {name: value for name, value in given.items() if value}
    made = replace(recipe, **changes)
    if made.learning_rate <= 0 or made.batch < 1 or made.steps < 0:
        raise ConfigError("learning_rate must be above 0, batch at least 1, steps not negative")
    return replace(made, per_device=min(made.per_device, made.batch))


def _form(config: TrainConfig, tune: TuneConfig, recipe: Recipe) -> str:
    """Name of the action form, which for tokens also says which digits."""
    if not config.variant.endswith("tokens"):
        if tune.action_tokens:
            raise ConfigError(f"the variant {config.variant} writes words; --action-tokens is for the token variants")
        return make_form(LanguageConfig(form=tune.form)).name if tune.form else recipe.form
    if tune.form:
        raise ConfigError(f"the variant {config.variant} writes tokens, not {tune.form}; --form is for lora and full")
    usual = _DIGITS.get(recipe.name, GEMMA_UNUSED) if config.base_model in ("", recipe.base) else GEMMA_UNUSED
    return make_form(LanguageConfig(form="tokens"), tokens=tune.action_tokens or usual).name


def is_lora(variant: str) -> bool:
    """Whether the variant trains an adapter (else all weights of the language model)."""
    return variant.startswith("lora")
