"""The tokenizer of the embedded model: Gemma's class and special tokens, a small vocabulary of its own.

Pieces never cross digits, punctuation or line breaks, so a number is read and written digit by digit. Chinese words
that name things are kept apart, else a whole question would become one piece. Anything else falls back to bytes.
"""

import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from vlm2vla.errors import ConfigError

if TYPE_CHECKING:
    from transformers import GemmaTokenizer

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
UNUSED = tuple(f"<unused{number}>" for number in range(10))
"""Reserved like Gemma's own; the action-token ablation writes with them."""
TURNS = ("<start_of_turn>", "<end_of_turn>")
IMAGE = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")
_BREAKS = ("\n", "\n\n")
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789[](),.;:?!=+-/'\"<>\u2581"
_WORD_WEIGHT = 60  # so that words for things become one piece each, however rare they are


def chat_template() -> str:
    """Gemma's chat template: the system text goes in front of the first user turn."""
    return (resources.files(__package__) / "chat_template.jinja").read_text(encoding="utf-8").strip()


def train_tokenizer(texts: Iterable[str], words: Iterable[str], vocabulary: int) -> "GemmaTokenizer":
    """Learn pieces from texts.

    Args:
        texts: What the model will read and write.
        words: Names of things, colours and symbols in all languages, which should be one piece each.
        vocabulary: Pieces, with the special ones, at most.

    Raises:
        ConfigError: No room for anything but the special pieces and bytes.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    first = [*SPECIAL, *UNUSED, *TURNS, *IMAGE, *_BREAKS, *_BYTES]
    if vocabulary < len(first) + 200:
        raise ConfigError(f"a vocabulary of {vocabulary} is too small; {len(first) + 200} is the least")
    names = sorted(set(words))
    chinese = sorted((word for word in names if re.match(r"[\u4e00-\u9fff]", word)), key=len, reverse=True)
    alone = [r"\n+", r"\d", r",▁", r"[\[\](),.;:?!=+\-/'\"<>¿¡。，？、：；]", *map(re.escape, chinese)]
    model = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    model.normalizer = normalizers.Replace(" ", "▁")
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("|".join(alone)), "isolated"),
            pre_tokenizers.Split(Regex("(?<!,)▁"), "merged_with_next"),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=first,
        initial_alphabet=list(_LETTERS),
        limit_alphabet=600,
        min_frequency=3,
        show_progress=False,
    )
    model.train_from_iterator(_corpus(texts, names), trainer)
    return _gemma(model)


def _corpus(texts: Iterable[str], names: list[str]) -> Iterable[str]:
    yield from texts
    for name in (*names, "user", "model"):
        for _ in range(_WORD_WEIGHT):
            yield name
            yield f"the {name}"


def _gemma(model: object) -> "GemmaTokenizer":
    import json

    from transformers import AddedToken, GemmaTokenizer

    learned = json.loads(model.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    # A comma takes its space before any word can: rows of numbers get shorter.
    merges.sort(key=lambda pair: pair != (",", "\u2581"))
    boi, eoi, soft = IMAGE
    tokenizer = GemmaTokenizer(
        vocab=learned["vocab"],
        merges=merges,
        boi_token=boi,
        eoi_token=eoi,
        image_token=soft,
        extra_special_tokens={"boi_token": boi, "eoi_token": eoi, "image_token": soft},
        add_bos_token=True,
    )
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in TURNS], special_tokens=True)
    # Plain, not special: a decoder that skips special tokens must keep what the action-token ablation writes.
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in UNUSED])
    tokenizer.chat_template = chat_template()
    return tokenizer


def load_tokenizer(folder: Path) -> "GemmaTokenizer":
    """The tokenizer that was saved in `folder`.

    Raises:
        ConfigError: There is none.
    """
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        raise ConfigError(f"no tokenizer in {folder}; run the stage tokenizer first")
    return AutoTokenizer.from_pretrained(folder)
