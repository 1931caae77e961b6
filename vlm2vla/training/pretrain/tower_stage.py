"""The tower learns: dense labels of every patch and the soft tokens, at once, from pictures of the simulator.

A step depends on the seed and its own number alone (order of pictures, changes of brightness and noise), so a run that
was stopped goes on with the same losses. A run's folder:

    config.json         what decides the result
    metrics.jsonl       losses every ten steps, held-out metrics at each checkpoint
    checkpoint.pt       everything needed to go on
    tower.safetensors   the weights, ready for Gemma3ForConditionalGeneration
    tokens.npy          image tokens of the whole set (`tower.image_tokens`)
"""

import json
import os
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlm2vla.errors import ConfigError, NotFoundError, WorkspaceError
from vlm2vla.training.pretrain.config import Preset, Stage
from vlm2vla.training.pretrain.dense import DenseHeads, Labels, Names, labels_of
from vlm2vla.training.pretrain.pictures import PictureSet
from vlm2vla.training.pretrain.soft import SoftSpace
from vlm2vla.training.pretrain.tower import WEIGHTS, build_tower, normalised, save_tower, see
from vlm2vla.training.pretrain.tower_metrics import metrics

LOG_EVERY = 10
_WARM_UP = 200
_LAST_LR = 0.02  # of the peak
_CLIP = 2.0
_SOFT = 4.0  # weight of the soft tokens beside the dense losses
_EMPTY = 0.15  # weight of patches with nothing on them in the soft loss
_NOISES = 16

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class TowerResult:
    """What training gave.

    Attributes:
        steps: Optimizer steps in all.
        loss: Mean of the last ten.
        metrics: Of held-out pictures, by `tower_metrics.metrics`.
        folder: The run.
    """

    steps: int
    loss: float
    metrics: dict[str, float]
    folder: Path


def train_tower(
    preset: Preset,
    pictures: PictureSet,
    folder: Path | str,
    *,
    seed: int = 0,
    max_steps: int = 0,
    resume: bool = False,
    threads: int = 1,
    report: Report | None = None,
) -> TowerResult:
    """Train the tower until its schedule ends.

    Args:
        preset: Sizes and schedule.
        pictures: The set; its held-out rows are only looked at.
        folder: Of the run; made where it is missing.
        seed: Of weights, order and noise.
        max_steps: Stop after so many steps in all, the schedule unchanged; 0 goes to its end.
        resume: Go on from the checkpoint in `folder`; with another schedule, if the preset has changed (metrics.jsonl
            says so).
        threads: Of the computation.
        report: Is told each line of metrics.jsonl.

    Raises:
        ConfigError: The pictures or the checkpoint have other sizes than the preset.
        NotFoundError: Nothing to resume.
        WorkspaceError: The checkpoint is damaged, or there is one and `resume` was not asked for.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    run = _Run(preset, pictures, Path(folder), seed, report or (lambda row: None))
    run.begin(resume)
    run.learn(min(max_steps or preset.tower.steps, preset.tower.steps))
    return TowerResult(run.step, run.mean_loss(), run.seen, run.folder)


def learning_rate(step: int, stage: Stage) -> float:
    """Of step 1, 2, ...: a short rise, the peak, then down to a fiftieth over the last `decay` of the steps."""
    rise = min(1.0, step / _WARM_UP)
    left = (stage.steps - step) / max(1.0, stage.steps * stage.decay)
    return stage.lr * rise * max(_LAST_LR, min(1.0, left))


class _Run:
    def __init__(self, preset: Preset, pictures: PictureSet, folder: Path, seed: int, report: Report):
        shape = preset.shape
        if (pictures.px, pictures.grid) != (shape.px, shape.grid):
            raise ConfigError(
                f"pictures of {pictures.px} px and {pictures.grid} patches a side in {pictures.folder};"
                f" the preset wants {shape.px} and {shape.grid}"
            )
        if not len(pictures.held_out):
            raise ConfigError(f"only {len(pictures)} pictures in {pictures.folder}; at least 40 are needed")
        self.preset, self.pictures, self.folder, self.seed, self.report = preset, pictures, folder, seed, report
        self.space = SoftSpace(preset.soft)
        self.step, self.recent, self.seen = 0, [], {}
        self.pictures_s = 0.0

    # State on disk

    def begin(self, resume: bool) -> None:
        path = self.folder / "checkpoint.pt"
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume:
            kept = _read(path)
            self.names = Names.from_json(kept["names"])
        elif path.exists():
            raise WorkspaceError(f"{self.folder} has a tower already; go on with --resume, or choose another run")
        else:
            kept, self.names = None, Names.of(self.pictures.scenes)
        self.tower = build_tower(self.preset.shape, self.seed)
        self.heads = DenseHeads(self.preset.shape.vision_width, self.names)
        self.parameters = [*self.tower.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, self.preset.tower.lr, betas=(0.9, 0.98), weight_decay=0.02, fused=True
        )
        if kept:
            self._take(kept, path)
        _keep_lines(self.folder / "metrics.jsonl", self.step)
        if kept and kept["config"]["schedule"] != self._config()["schedule"]:
            self._log({"schedule": self._config()["schedule"], "before": kept["config"]["schedule"]})
        (self.folder / "config.json").write_text(json.dumps(self._config(), indent=1) + "\n")
        self.labels = labels_of(self.pictures.scenes, self.pictures.patches, self.names, self.pictures.px)
        self.soft = self._soft_tokens()
        noise = torch.Generator().manual_seed(self.seed)
        px = self.pictures.px
        self.noise = torch.randn(_NOISES, 3, px, px, generator=noise) * 0.02

    def _config(self) -> dict[str, Any]:
        preset = self.preset
        return {
            "stage": "tower",
            "preset": preset.name,
            "shape": asdict(preset.shape),
            "soft": asdict(preset.soft),
            "schedule": asdict(preset.tower),
            "seed": self.seed,
            "pictures": {key: self.pictures.manifest.get(key) for key in ("count", "seed", "made_by")},
            "parameters": sum(p.numel() for p in self.tower.parameters()),
        }

    def _take(self, kept: dict[str, Any], path: Path) -> None:
        mine = self._config()
        for config in (kept["config"], mine):
            config["pictures"] = {key: config["pictures"][key] for key in ("count", "seed")}
        for key in ("shape", "soft", "seed", "pictures"):
            if kept["config"][key] != mine[key]:
                raise ConfigError(f"{path} was made with {key} {kept['config'][key]}, not {mine[key]}")
        self.tower.load_state_dict(kept["tower"])
        self.heads.load_state_dict(kept["heads"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step, self.recent, self.seen = kept["step"], kept["recent"], kept["metrics"]

    def _save(self) -> None:
        part = self.folder / "checkpoint.part"
        state = {
            "config": self._config(),
            "names": self.names.to_json(),
            "tower": self.tower.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "recent": self.recent,
            "metrics": self.seen,
        }
        torch.save(state, part)
        os.replace(part, self.folder / "checkpoint.pt")
        save_tower(self.tower, self.folder / WEIGHTS)

    def _log(self, row: dict[str, Any]) -> None:
        row = {"stage": "tower", "step": self.step, **row}
        with (self.folder / "metrics.jsonl").open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        self.report(row)

    # Learning

    def learn(self, last: int) -> None:
        saved = counted = time.monotonic()
        fresh = 0
        while self.step < last:
            loss, parts = self._step()
            self.recent = [*self.recent[1 - LOG_EVERY :], loss]
            fresh += 1
            if self.step % LOG_EVERY == 0:
                now = time.monotonic()
                rate = LOG_EVERY * self.preset.tower.batch / (now - counted) if fresh >= LOG_EVERY else 0.0
                counted = now
                self._log({"loss": self.mean_loss(), "pictures_s": round(rate, 1), "parts": parts})
                if now - saved > self.preset.tower.every_s:
                    self._checkpoint()
                    saved = counted = time.monotonic()
        if fresh:
            self._checkpoint()

    def mean_loss(self) -> float:
        """Mean of the last ten losses."""
        return round(float(np.mean(self.recent)), 6) if self.recent else float("nan")

    def _checkpoint(self) -> None:
        rows = self.pictures.held_out
        hidden, tokens = see(self.tower, self.pictures, rows)
        with torch.no_grad():
            self.seen = metrics(hidden, tokens, self.heads, self.labels.rows(torch.tensor(rows)), self.space)
        self._save()
        self._log({"held_out": self.seen})

    def _step(self) -> tuple[float, dict[str, float]]:
        self.step += 1
        stage = self.preset.tower
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, stage)
        rows = self._rows()
        index = torch.from_numpy(rows)
        pixels = self._varied(normalised(self.pictures.pixels[rows]))
        labels = self.labels.rows(index)
        hidden, tokens = self.tower(pixels)
        losses = self.heads.loss(hidden, labels)
        losses["soft"] = _SOFT * self._soft_loss(tokens, index, labels)
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, _CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(total.detach()), {key: round(float(value.detach()), 4) for key, value in losses.items()}

    def _rows(self) -> np.ndarray:
        """Pictures of this step, sorted; each once in an epoch."""
        count, batch = len(self.pictures.training), self.preset.tower.batch
        steps = max(1, count // batch)
        epoch, place = divmod(self.step - 1, steps)
        order = np.random.default_rng([self.seed, epoch]).permutation(count)
        return np.sort(order[place * batch : (place + 1) * batch])

    def _varied(self, pixels: torch.Tensor) -> torch.Tensor:
        """Brightness, contrast, a tint and noise; nothing that moves a thing."""
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        count = len(pixels)
        light = torch.randn(count, 1, 1, 1, generator=chance) * 0.06
        gain = 1 + torch.randn(count, 3, 1, 1, generator=chance) * 0.05
        tint = torch.randn(count, 3, 1, 1, generator=chance) * 0.03
        pixels.mul_(gain).add_(light * gain + tint)
        return pixels.add_(self.noise[torch.randint(_NOISES, (count,), generator=chance)])

    def _soft_tokens(self) -> torch.Tensor:
        """Targets of the projector, float16 [N, T, width]."""
        pictures = self.pictures
        soft = np.empty((*pictures.patches.shape, self.preset.soft.width), np.float16)
        for row, scene in enumerate(pictures.scenes):
            soft[row] = self.space.target(scene, pictures.patches[row])
        return torch.from_numpy(soft)

    def _soft_loss(self, tokens: torch.Tensor, index: torch.Tensor, labels: Labels) -> torch.Tensor:
        """Mean square distance to the soft tokens; patches with nothing on them count little."""
        weight = torch.where(labels.slot == labels.slots - 1, _EMPTY, 1.0)
        far = (tokens - self.soft[index].float()).square().mean(-1)
        return (far * weight).sum() / weight.sum()


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFoundError(f"nothing to resume: no {path.name} in {path.parent}")
    try:
        return torch.load(path, weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise WorkspaceError(f"cannot read {path}: {error}; delete it and train the tower again") from error


def _keep_lines(path: Path, step: int) -> None:
    """Drop lines that a stopped run wrote after its last checkpoint."""
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    part = path.with_suffix(".part")
    part.write_text("".join(f"{line}\n" for line in kept))
    os.replace(part, path)
