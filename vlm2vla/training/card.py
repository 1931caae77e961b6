"""The model card of a run: what it is, what it was made from and how, what is known about it. Only measured numbers."""

from collections.abc import Mapping
from typing import Any

from vlm2vla.training.config import Recipe, is_lora
from vlm2vla.training.run import RunFolder


def model_card(run: RunFolder, recipe: Recipe, variant: str, report: Mapping[str, Any]) -> str:
    """Markdown, from the run's own files."""
    data, checks, environment = (run.read(name) for name in ("data.json", "checks.json", "environment.json"))
    config = run.read("config.json")
    what = "LoRA adapter" if is_lora(variant) else "fully fine-tuned language model (vision tower frozen)"
    actions = "discrete action tokens" if variant.endswith("tokens") else "actions in words"
    train = data.get("train", {})
    rows = [
        ("variant", variant),
        (
            "base",
            f"{_name(report.get('base') or config.get('base', ''))}, fingerprint {config.get('base_fingerprint')}",
        ),
        ("action form", recipe.form),
        ("steps", f"{report['steps']} of {report['planned']}"),
        ("groups per step", recipe.batch),
        ("packing", recipe.packing),
        ("learning rate", f"{recipe.learning_rate:g}, linear, warm-up {recipe.warmup:.0%}"),
        ("optimizer", f"AdamW, betas {recipe.betas}, weight decay {recipe.weight_decay:g}"),
        ("adapter", f"rank {recipe.lora_rank}, alpha {recipe.lora_alpha}" if is_lora(variant) else "none"),
        ("started from", config.get("start_from_fingerprint") or "a fresh adapter" if is_lora(variant) else "the base"),
        ("trainable parameters", checks.get("trainable_parameters")),
        ("seed", config.get("seed")),
        ("samples", f"{train.get('rows')} answers over {train.get('groups')} groups, {train.get('sources')} sources"),
        ("loss, mean of the last steps", _number(report["loss"])),
        ("loss on held-out episodes", _number(report["held_out_loss"])),
        ("answers per second", _number(report["samples_per_s"], 1)),
        ("packages", ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items())),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    left_out = dict(data.get("left_out") or {})
    for each in data.get("sets", ()):
        left_out |= each.get("left_out") or {}
    return (
        f"# {run.name}\n\n{what} for {actions}, trained on annotated robot episodes (VLM2VLA, arXiv 2509.22195).\n\n"
        f"Made by `vlm2vla {environment.get('command', '')}`.\n\n| | |\n|---|---|\n{table}\n\n"
        f"Kinds of samples: {train.get('kinds')}. Left out: {left_out or 'none'}.\n\n"
        "Checked in this run: image attention "
        f"{checks.get('image_attention', 'not checked')}; longest sample {checks.get('longest_sample_tokens')} of "
        f"{checks.get('max_tokens')} tokens, nothing was cut; vision tower before and after "
        f"{checks.get('vision_before')}, {checks.get('vision_after')}{_changes(checks)}.{_blurred(checks)}\n\n"
        "A low loss is no proof of a robot that succeeds, nor of knowledge that was kept: see the evaluation.\n"
    )


def _name(base: str) -> str:
    """Hub ids as they are, folders without their place."""
    return base.rstrip("/").split("/")[-1] if base.startswith("/") else base


def _changes(checks: Mapping[str, Any]) -> str:
    """What the adapter does to the base; nothing where there is none."""
    change = checks.get("adapter_changes_logits_by")
    return f"; the adapter changes logits by up to {_number(change)}" if change is not None else ""


def _blurred(checks: Mapping[str, Any]) -> str:
    """Words of the answers that an adapter cannot tell apart."""
    tokens = checks.get("not_told_apart")
    if not tokens:
        return ""
    told = ", ".join(f"`{token}` in {share:.1%}" for token, share in list(tokens.items())[:6])
    return (
        f" Tokens of the answers that the base was never trained on, so that an adapter cannot tell them apart: {told}."
    )


def _number(value: Any, digits: int = 4) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"
