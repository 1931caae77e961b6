"""The model card: what the model is, the commands and seeds that made it, and the gate as it was measured."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vlm2vla.training.pretrain.config import Preset, PretrainConfig

LOGS = ("tower", "language", "tokens", "join")


def write_card(
    folder: Path,
    run: Path,
    config: PretrainConfig,
    preset: Preset,
    manifest: Mapping[str, Any],
    gate: Mapping[str, Any],
    notes: str = "",
) -> None:
    """Write README.md, training.json and the logs of the stages into a model's folder.

    Args:
        folder: Of the finished model.
        run: Of the pretraining run, where metrics.jsonl of each stage lie.
        config: As the run was started.
        preset: Sizes and schedules.
        manifest: Of the pictures.
        gate: As `run_gate` returns it.
        notes: What a reader should know besides, in Markdown.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for name in LOGS:
        path = run / name / "metrics.jsonl"
        if path.is_file():
            (logs / f"{name}.jsonl").write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    made = {
        "preset": asdict(preset),
        "seed": config.seed,
        "pictures": dict(manifest),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")},
        "python": platform.python_version(),
        "stages": {name: last for name in LOGS if (last := _last(logs / f"{name}.jsonl"))},
        "gate": dict(gate),
    }
    (folder / "training.json").write_text(json.dumps(made, indent=1, default=str) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_text(made, config, preset, gate, notes), encoding="utf-8")


def _text(made: Mapping[str, Any], config: PretrainConfig, preset: Preset, gate: Mapping[str, Any], notes: str) -> str:
    shape, pictures = preset.shape, made["pictures"]
    lines = [
        "# The embedded VLM",
        "",
        f"A small `Gemma3ForConditionalGeneration` with its `Gemma3Processor`: {shape.layers} layers of {shape.width},"
        f" a SigLIP tower of {shape.vision_layers} layers of {shape.vision_width} at {shape.px} px,"
        f" {shape.image_tokens} image tokens. It knows one table in one simulator: pictures of other places are outside"
        " what it was trained on. Weights are stored as float16; it runs on a CPU.",
        "",
        "## Made by",
        "",
        "```bash",
        str(pictures.get("made_by", "")),
        f"python -m vlm2vla pretrain --preset {preset.name} --pictures DIR --seed {config.seed}",
        "```",
        "",
        f"Pictures: {pictures.get('count')} from seed {pictures.get('seed')}. Logs are in `logs/`, settings"
        " in `training.json`. Stages: " + "; ".join(_stage(name, row) for name, row in made["stages"].items()) + ".",
        "",
        "## Gate",
        "",
        f"{'Passed' if gate['passed'] else 'Not passed'}"
        + (f": below the aim are {', '.join(gate['missed'])}." if gate["missed"] else "."),
        f"Mean over skills with a picture: {gate['score']:.3f}, with a blank picture instead {gate['blank']:.3f}."
        " Right within 2 cm on every axis where the answer is a place or an offset; chance is the commonest answer.",
        "",
        "| skill | right | blank picture | chance | items | median error cm | blank cm |",
        "|---|---|---|---|---|---|---|",
    ]
    for skill, row in gate["skills"].items():
        cells = [
            row["right"],
            row["blank"],
            row["chance"],
            row["items"],
            row.get("median_cm"),
            row.get("blank_median_cm"),
        ]
        lines.append(f"| {skill} | " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    if notes:
        lines += ["", "## Notes", "", notes.strip()]
    return "\n".join(lines) + "\n"


def _stage(name: str, row: Mapping[str, Any]) -> str:
    return f"{name} {row['step']} steps" + (f" in {row['s']} s" if "s" in row else "")


def _last(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return json.loads(lines[-1]) if lines else None
