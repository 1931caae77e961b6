"""A picture set painted with numpy: coloured squares on a grey table and a dark gripper. For tests of the readers."""

import json
from pathlib import Path

import numpy as np

from vlm2vla.training.pretrain.config import VlmShape

SMALL = VlmShape(
    px=80,
    patch=16,
    vision_width=32,
    vision_layers=1,
    vision_heads=2,
    vision_ffn=32,
    layers=1,
    ffn=32,
    vocabulary=700,
)
"""A model that learns what is painted within seconds."""
COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (30, 70, 220)}
CM_PER_PX = 0.2


def paint(folder: Path, count: int = 60, px: int = 160, grid: int = 10, seed: int = 0) -> Path:
    """Write a set of `count` pictures; x grows upwards in a picture, y to the left."""
    rng = np.random.default_rng(seed)
    patch = px // grid
    pixels = np.full((count, px, px, 3), 150, np.uint8)
    patches = np.full((count, grid, grid), -1, np.int8)
    scenes, questions = [], []
    for row in range(count):
        cells = rng.permutation(grid * grid)[:4]
        u, v = (cells % grid + 0.5) * patch, (cells // grid + 0.5) * patch
        x, y = 80 - v * CM_PER_PX, 16 - u * CM_PER_PX
        things = []
        for index in range(3):
            colour = list(COLOURS)[int(rng.integers(3))]
            top, left = int(v[index] - patch / 2), int(u[index] - patch / 2)
            card = index == 2
            pixels[row, top : top + patch, left : left + patch] = 240 if card else COLOURS[colour]
            if card:
                pixels[row, top + 4 : top + 12, left + 4 : left + 12] = COLOURS[colour]
            patches[row].flat[cells[index]] = index
            things.append(
                {
                    "name": f"{colour} thing {index}",
                    "kind": "card" if card else "cube",
                    "colour": colour,
                    "symbol": "square" if card else "",
                    "x_cm": x[index],
                    "y_cm": y[index],
                    "z_cm": 2.0,
                    "dx_cm": x[index] - x[3],
                    "dy_cm": y[index] - y[3],
                    "dz_cm": -6.0,
                    "u_px": u[index],
                    "v_px": v[index],
                    "visible_px": patch * patch,
                    "held": False,
                    "on": "table",
                    "beside": "",
                }
            )
        top, left = int(v[3] - patch / 2), int(u[3] - patch / 2)
        pixels[row, top : top + patch, left : left + patch] = 20
        patches[row].flat[cells[3]] = 100
        gripper = {"x_cm": x[3], "y_cm": y[3], "z_cm": 8.0, "open": 1.0, "holding": ""}
        scenes.append({"things": things, "gripper": gripper})
        question = {
            "skill": "colour",
            "language": "en",
            "question": "colour?",
            "answer": things[0]["colour"],
            "thing": 0,
        }
        questions.append([question])
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "patches.npy", patches.reshape(count, -1))
    (folder / "scenes.jsonl").write_text("".join(json.dumps(scene) + "\n" for scene in scenes))
    (folder / "questions.jsonl").write_text("".join(json.dumps(rows) + "\n" for rows in questions))
    (folder / "texts.jsonl").write_text("")
    manifest = {"version": 1, "count": count, "seed": seed, "px": px, "grid": grid, "made_by": "painted"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
