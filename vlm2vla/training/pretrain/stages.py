"""The stages in order, each in a folder of the run; what one stage needs of another it reads from disk.

RUN/config.json  preset, seed and pictures of the run
RUN/tokenizer/   tokenizer and words.json
RUN/tower/       tower.safetensors, tokens.npy, metrics.jsonl
RUN/language/    on soft tokens: checkpoint.pt, metrics.jsonl
RUN/tokens/      the same model on the tower's tokens
RUN/join/        both on pixels
RUN/gate.json    scores on held-out pictures
RUN/model/       the finished model with its card
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vlm2vla.errors import ConfigError
from vlm2vla.training.pretrain.card import write_card
from vlm2vla.training.pretrain.config import STAGES, Preset, PretrainConfig, preset
from vlm2vla.training.pretrain.gate import run_gate
from vlm2vla.training.pretrain.join import TowerTokens, load_heads, take_tower, train_joined
from vlm2vla.training.pretrain.language import SoftTokens, train_language
from vlm2vla.training.pretrain.loop import load_weights, steps_of
from vlm2vla.training.pretrain.mix import Shares
from vlm2vla.training.pretrain.model import build_model, build_processor, save_model
from vlm2vla.training.pretrain.pictures import PictureSet
from vlm2vla.training.pretrain.soft import SoftSpace
from vlm2vla.training.pretrain.tokenizer import load_tokenizer
from vlm2vla.training.pretrain.tower import load_tower
from vlm2vla.training.pretrain.tower_stage import train_tower
from vlm2vla.training.pretrain.vocabulary import make_tokenizer, stored_words
from vlm2vla.workspace import write_atomic

if TYPE_CHECKING:
    from transformers import Gemma3ForConditionalGeneration

_LANGUAGE_STAGES = ("join", "tokens", "language")
"""Folders with weights of the language model, the best first."""


@dataclass(frozen=True)
class PretrainReport:
    """What a run has come to.

    Attributes:
        run: Its folder.
        steps, loss: Of the last stage that learned.
        stages: Steps, loss and seconds of each stage that ran now.
        gate: Scores on held-out pictures, where that stage ran.
    """

    run: Path
    steps: int
    loss: float | None
    stages: Mapping[str, Mapping[str, Any]]
    gate: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "run": str(self.run),
            "steps": self.steps,
            "loss": self.loss,
            "stages": dict(self.stages),
            "gate": self.gate,
        }


def pretrain(
    config: PretrainConfig,
    run: Path,
    pictures: PictureSet,
    words: Mapping[str, Sequence[str]],
    *,
    sayings: Sequence[Mapping[str, str]] = (),
    held_out: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> PretrainReport:
    """Run one stage or all of them.

    Args:
        config: What the command was asked for.
        run: Folder of the run.
        pictures: To learn from.
        words: Names of each concept in all languages.
        sayings: More questions without a picture.
        held_out: Folder of the VQA set that the gate asks; without it the gate asks held-out pictures of the set.
        say: Gets lines for people.

    Raises:
        ConfigError: A stage that needs another one first, a run that is there already without `resume`, or one that
            was begun with another seed or other pictures.
    """
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)
    pictures = pictures.with_texts(sayings)
    work = _Work(config, preset(config.preset), run, pictures, words, held_out, say)
    run.mkdir(parents=True, exist_ok=True)
    _note_settings(run, work.preset, config.seed, pictures.manifest)
    chosen = STAGES if config.stage == "all" else (config.stage,)
    done: dict[str, dict[str, Any]] = {}
    for stage in chosen:
        began = time.monotonic()
        say(f"stage {stage}")
        done |= {name: {**row, "s": round(time.monotonic() - began)} for name, row in work.run_one(stage).items()}
    learned = [row for row in done.values() if "loss" in row]
    last = learned[-1] if learned else {"steps": 0, "loss": None}
    return PretrainReport(run, last["steps"], last["loss"], done, work.gate)


def _note_settings(run: Path, chosen: Preset, seed: int, pictures: Mapping[str, Any]) -> None:
    """Write down what a run is made with; stages of one run share seed and pictures."""
    path = run / "config.json"
    settings = {"preset": asdict(chosen), "seed": seed, "pictures": dict(pictures)}
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):  # a new run, or one whose note is damaged
        before = json.loads(path.read_text(encoding="utf-8"))
    for what in ("seed", "pictures"):
        if before.get(what, settings[what]) != settings[what]:
            raise ConfigError(
                f"{run.name} was begun with {what} {_told(before[what])}, and now it is {_told(settings[what])}; give "
                "what it was begun with, or another --run name"
            )
    write_atomic(path, json.dumps(settings, indent=1) + "\n")


def _told(value: Any) -> str:
    return f"{value.get('count')} from seed {value.get('seed')}" if isinstance(value, Mapping) else str(value)


class _Work:
    def __init__(
        self,
        config: PretrainConfig,
        chosen: Preset,
        run: Path,
        pictures: PictureSet,
        words: Mapping[str, Sequence[str]],
        held_out: Path | None,
        say: Callable[[str], None],
    ):
        self.config, self.preset, self.run, self.pictures = config, chosen, run, pictures
        self.words, self.held_out, self.say = words, held_out, say
        self.gate: Mapping[str, Any] | None = None

    def run_one(self, stage: str) -> dict[str, dict[str, Any]]:
        return getattr(self, f"_{stage}")()

    def _tokenizer(self) -> dict[str, dict[str, Any]]:
        tokenizer = make_tokenizer(self.run / "tokenizer", self.pictures, self.words, self.preset, self.config.seed)
        return {"tokenizer": {"pieces": len(tokenizer)}}

    def _tower(self) -> dict[str, dict[str, Any]]:
        folder = self.run / "tower"
        result = train_tower(
            self.preset,
            self.pictures,
            folder,
            seed=self.config.seed,
            max_steps=self.config.max_steps,
            resume=self.config.resume and (folder / "checkpoint.pt").is_file(),
            threads=self.config.threads,
            report=lambda row: self.say(json.dumps(row)),
        )
        return {"tower": {"steps": result.steps, "loss": result.loss}}

    def _language(self) -> dict[str, dict[str, Any]]:
        model = self._fresh()
        tokens = SoftTokens(self.pictures, SoftSpace(self.preset.soft))
        looked = self._learn_language("language", model, tokens, self.preset.language)
        return {"language": {"steps": looked.steps, "loss": looked.loss}}

    def _join(self) -> dict[str, dict[str, Any]]:
        model = self._fresh()
        learned = load_weights(self.run / "language", model)
        take_tower(model, load_tower(self.run / "tower", self.preset.shape))
        self._begin_again_if_behind({"language": learned, "tower": steps_of(self.run / "tower")})
        done = {}
        if not (self.run / "join" / "checkpoint.pt").is_file():
            looked = self._learn_language("tokens", model, TowerTokens(model, self.pictures), self.preset.tokens)
            done["tokens"] = {"steps": looked.steps, "loss": looked.loss}
            # A resumed stage brings the tower of its checkpoint; what counts is the finished one.
            take_tower(model, load_tower(self.run / "tower", self.preset.shape))
        looked = train_joined(
            self.run / "join",
            model,
            self._tokens_of_run(),
            self.pictures,
            self.preset,
            heads=load_heads(self.run / "tower", self.preset.shape),
            seed=self.config.seed,
            resume=self.config.resume,
            max_steps=self.config.max_steps,
            shares=Shares(first_steps=0),
            say=self.say,
        )
        return {**done, "join": {"steps": looked.steps, "loss": looked.loss}}

    def _begin_again_if_behind(self, steps: Mapping[str, int]) -> None:
        """Joined stages that began from fewer steps than there are now would not be what a run in one go gives."""
        path = self.run / "joined_from.json"
        if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != dict(steps) and self.config.resume:
            self.say("tower or language model went on: they are joined again")
            for name in ("tokens", "join"):
                shutil.rmtree(self.run / name, ignore_errors=True)
        path.write_text(json.dumps(dict(steps)) + "\n", encoding="utf-8")

    def _gate(self) -> dict[str, dict[str, Any]]:
        model = self.best()
        processor = build_processor(self.preset.shape, self._tokens_of_run())
        folder = self.run / "model"
        save_model(folder, model, processor, half=True)
        self.gate = run_gate(folder, self.held_out, self.pictures, limit=40 if self.config.max_steps else 0)
        (self.run / "gate.json").write_text(json.dumps(self.gate, indent=1) + "\n", encoding="utf-8")
        write_card(folder, self.run, self.config, self.preset, self.pictures.manifest, self.gate)
        return {"gate": {"passed": self.gate["passed"]}}

    def best(self) -> "Gemma3ForConditionalGeneration":
        """The model of the latest stage that has weights, with the tower where there is one.

        Raises:
            ConfigError: No stage has any.
        """
        model = self._fresh()
        for name in _LANGUAGE_STAGES:
            if (self.run / name / "checkpoint.pt").is_file():
                load_weights(self.run / name, model)
                if name != "join" and (self.run / "tower" / "tower.safetensors").is_file():
                    take_tower(model, load_tower(self.run / "tower", self.preset.shape))
                return model.eval()
        raise ConfigError(f"nothing has been learned in {self.run} yet; run the stage language first")

    def _learn_language(self, name: str, model: "Gemma3ForConditionalGeneration", tokens: Any, stage: Any) -> Any:
        return train_language(
            self.run / name,
            model,
            self._tokens_of_run(),
            self.pictures,
            tokens,
            stage,
            self.preset,
            seed=self.config.seed,
            resume=self.config.resume,
            max_steps=self.config.max_steps,
            shares=Shares() if name == "language" else Shares(first_steps=0),
            say=self.say,
        )

    def _tokens_of_run(self) -> Any:
        return load_tokenizer(self.run / "tokenizer")

    def _fresh(self) -> "Gemma3ForConditionalGeneration":
        words = stored_words(self.run / "tokenizer")
        space = SoftSpace(self.preset.soft)
        return build_model(self.preset.shape, self._tokens_of_run(), space, words, self.config.seed)


def with_stage(chosen: Preset, **stages: Any) -> Preset:
    """A preset with other schedules, for trials."""
    return replace(chosen, **stages)
