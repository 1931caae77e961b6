"""A small set of training rows with real pictures, in the format that exports have."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm2vla.training.config import PRESETS, Mixture
from vlm2vla.training.job import Job

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

SYSTEM = "You control the gripper of a robot arm by writing its motion in words."
COLOURS = ("red", "blue", "green")


def write_rows(folder: Path, episodes: int = 12, *, chunk="[[2.5, 0.0, -{n}.0, 1], [0.0, 0.0, 0.0, 0]]") -> Path:
    """Three rows over one picture per episode, and a question over two pictures."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(episodes):
        names = [f"images/{number}-{step}.png" for step in range(2)]
        for name in names:
            small = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(small).resize((56, 56), Image.Resampling.NEAREST).save(folder / name)
        colour = COLOURS[number % 3]
        task = f"Task: move to the {colour} cube"
        list_ = [turn("system", SYSTEM), turn("user", f"{task}\nList the subtasks.")]
        plan = [turn("system", SYSTEM), turn("user", f"{task}\nIn which directions?")]
        told = [*plan, turn("assistant", "move down"), turn("user", "Write it as rows.")]
        done = [turn("system", SYSTEM), turn("user", f"{task}\nIs it completed?")]
        about = {"episode_id": f"e{number}"}
        rows += [
            row(f"{number}/list", "action", "subtask", names[:1], list_, f"1. Grasp the {colour} cube", about),
            row(f"{number}/plan", "action", "plan", names[:1], plan, "move down", about),
            row(f"{number}/chunk", "action", "chunk", names[:1], told, chunk.format(n=number % 9 + 1), about),
            row(f"{number}/done", "completed", "completed", names, done, "yes" if number % 2 else "no", about),
        ]
    save_rows(folder, rows)
    return folder


def save_rows(folder: Path, rows: list) -> None:
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def load_rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def row(name, kind, level, images, prompt, answer, about):
    completion = [turn("assistant", answer)]
    return {
        "id": name,
        "file_names": images,
        "prompt": prompt,
        "completion": completion,
        "level": level,
        "kind": kind,
    } | about


@pytest.fixture(scope="session")
def rows_folder(tmp_path_factory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "set")


RECIPE = replace(
    PRESETS["embedded"],
    steps=4,
    batch=4,
    per_device=4,
    warmup=0.0,
    save_every=2,
    eval_every=2,
    mixture=Mixture(held_out=0.2, completed=0.5),
)


@pytest.fixture
def job(tiny_folder, rows_folder):
    def make(variant="lora", **changes):
        recipe = changes.pop("recipe", RECIPE)
        return Job(recipe, variant, str(tiny_folder / "base"), (rows_folder,), **changes)

    return make
