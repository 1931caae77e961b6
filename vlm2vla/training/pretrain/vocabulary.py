"""The tokenizer stage: collect every text that the model will read or write, learn its pieces."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlm2vla.embodiment import STRETCH_RE1, WIDOWX
from vlm2vla.errors import ConfigError
from vlm2vla.language import completed_dialogue, dialogue, direction_dialogue, form
from vlm2vla.training.pretrain.config import Preset
from vlm2vla.training.pretrain.mix import SYSTEMS
from vlm2vla.training.pretrain.pictures import PictureSet
from vlm2vla.training.pretrain.practice import exercise
from vlm2vla.training.pretrain.tokenizer import load_tokenizer, train_tokenizer

if TYPE_CHECKING:
    from transformers import GemmaTokenizer

_FORMS = ("rows:0.5cm", "rows7:0.5cm:1deg", "sentence:0.5cm", "sentence7:0.5cm:1deg", "tokens:0.5cm")
_PICTURES = 4000
_EXERCISES = 8000
_PROMPTS = 200


def make_tokenizer(
    folder: Path, pictures: PictureSet, words: Mapping[str, Sequence[str]], preset: Preset, seed: int
) -> "GemmaTokenizer":
    """Train the tokenizer and store it, with words.json, in `folder`; one that is there already is loaded."""
    if (folder / "tokenizer.json").is_file():
        return load_tokenizer(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for all_names in words.values() for name in all_names]
    tokenizer = train_tokenizer(texts_of(pictures, seed), names, preset.shape.vocabulary)
    (folder / "words.json").write_text(json.dumps(words, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(folder)
    return tokenizer


def stored_words(folder: Path) -> dict[str, list[str]]:
    """The names that `make_tokenizer` has stored.

    Raises:
        ConfigError: There are none.
    """
    path = folder / "words.json"
    if not path.is_file():
        raise ConfigError(f"{path} is missing; run the stage tokenizer first")
    return json.loads(path.read_text(encoding="utf-8"))


def texts_of(pictures: PictureSet, seed: int) -> Iterator[str]:
    """Questions, answers, exercises and the prompts of the action dialogue."""
    for asked in pictures.questions[:_PICTURES]:
        yield from _both(asked)
    yield from _both(pictures.pairs[:_PICTURES])
    yield from _both(pictures.texts)
    rng = np.random.default_rng([seed, 21])
    for _ in range(_EXERCISES):
        made = exercise(rng)
        yield from (made.question, made.answer)
    prompts = list(dict.fromkeys(_prompts()))
    for _ in range(_PROMPTS):
        yield from prompts


def _both(asked: Iterable[Mapping[str, str]]) -> Iterator[str]:
    for question in asked:
        yield question["question"]
        yield question["answer"]


def _prompts() -> Iterator[str]:
    yield from SYSTEMS
    for body in (STRETCH_RE1, WIDOWX):
        for name in _FORMS:
            for subtasks in ((), ("Grasp it", "Lift it")):
                turns = dialogue("lift it", body, form(name), subtasks=subtasks, subtask="Lift it", plan="move up")
                yield from (turn.text for turn in turns)
        yield from (turn.text for turn in dialogue("lift it", body, form("rows:0.5cm")))
        yield from (turn.text for turn in completed_dialogue("lift it", "Lift it", body, True))
        yield from (turn.text for turn in direction_dialogue(body, "left"))
