"""Rows to tokens and pictures to pixels, through the processor of the model and its chat template.

The prompt is what inference sends (`add_generation_prompt=True`), the completion what the template writes behind it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from vlm2vla.errors import ModelInputError, TrainingError
from vlm2vla.training.data import Row
from vlm2vla.training.packing import Tokens

if TYPE_CHECKING:
    import torch
    from transformers import ProcessorMixin


_AT_ONCE = 4096  # texts


def messages_of(prompt: Sequence[Mapping[str, str]], pictures: int) -> list[dict[str, Any]]:
    """Messages with content parts: the pictures stand before the text of the first user turn."""
    messages, left = [], pictures
    for turn in prompt:
        shown = left if turn["role"] == "user" else 0
        left -= shown
        parts = [{"type": "image"}] * shown + [{"type": "text", "text": turn["content"]}]
        messages.append({"role": turn["role"], "content": parts})
    return messages


def open_pictures(paths: Sequence[Path]) -> list[Image.Image]:
    """RGB pictures.

    Raises:
        TrainingError: One cannot be read; it names the file.
    """
    pictures = []
    for path in paths:
        try:
            with Image.open(path) as image:
                pictures.append(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise TrainingError(f"picture {path} cannot be read any more: {error}") from error
    return pictures


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height, without decoding the picture.

    Raises:
        TrainingError: It cannot be read.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise TrainingError(f"picture {path} cannot be read any more: {error}") from error


class Renderer:
    """Turns rows into tokens for one processor.

    Args:
        processor: Of the model, with its chat template.
        max_tokens: Longest sample; nothing is cut.
    """

    def __init__(self, processor: "ProcessorMixin", max_tokens: int):
        self.processor, self.max_tokens = processor, max_tokens
        self.tokenizer = processor.tokenizer
        self.image_token = getattr(self.tokenizer, "image_token_id", None)
        self._added: dict[Any, int] = {}

    def texts(self, row: Row, pictures: int) -> tuple[str, str]:
        """Prompt and completion as the chat template writes them, picture marks not yet expanded.

        Raises:
            ModelInputError: The template rewrites the prompt once it is answered.
        """
        messages = messages_of(row.prompt, pictures)
        answer = {"role": "assistant", "content": [{"type": "text", "text": row.completion}]}
        prompt = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        whole = self.processor.apply_chat_template([*messages, answer], tokenize=False)
        if not whole.startswith(prompt):
            raise ModelInputError(f"the chat template of this model changes the prompt of {row.id} once it is answered")
        return prompt, whole[len(prompt) :]

    def tokens(self, row: Row, pictures: int) -> Tokens:
        """Token ids of one row, with one id for each piece of a picture; where samples can share their beginning.

        Raises:
            TrainingError: It is longer than `max_tokens`, so it should have been left out.
        """
        made = self._tokens(row, pictures)
        if len(made) > self.max_tokens:
            raise TrainingError(
                f"{row.id} is {len(made)} tokens long, more than {self.max_tokens}; nothing is cut: raise max_tokens, "
                "or leave the sample out"
            )
        return made

    def length(self, row: Row, images: Sequence[Path]) -> int:
        """Tokens of one row over these pictures, for any base.

        Raises:
            TrainingError: A picture cannot be read.
        """
        if self.can_share:
            return len(self._tokens(row, len(images)))
        prompt, completion = self.texts(row, len(images))
        return len(self._ids(prompt)) + self._added_by(images, prompt) + len(self._ids(completion))

    def lengths(self, rows: Sequence[tuple[Row, Sequence[Path]]]) -> list[int]:
        """About as many tokens as `length` says, of many rows at once: right to within a few where texts meet.

        Each text is counted once, however often it occurs, and what template and pictures add once for each shape.
        """
        texts = sorted({text for row, _ in rows for text in _texts(row)})
        known: dict[str, int] = {}
        for first in range(0, len(texts), _AT_ONCE):
            some = texts[first : first + _AT_ONCE]
            known |= zip(some, map(len, self.tokenizer(some, add_special_tokens=False)["input_ids"]), strict=True)
        added: dict[Any, int] = {}
        found = []
        for row, images in rows:
            parts = sum(known[text] for text in _texts(row))
            shape = (*(turn["role"] for turn in row.prompt), self._shape(images))
            if shape not in added:
                added[shape] = self.length(row, images) - parts
            found.append(parts + added[shape])
        return found

    def pixels(self, pictures: Sequence[Image.Image]) -> "torch.Tensor":
        """[n, 3, h, w] pixels as the model takes them."""
        return self.processor.image_processor(list(pictures), return_tensors="pt")["pixel_values"]

    @property
    def can_share(self) -> bool:
        """Whether samples can share their beginning: pictures become a run of one token, as in Gemma 3."""
        parts = ("boi_token", "full_image_sequence", "image_processor")
        return self.image_token is not None and all(hasattr(self.processor, part) for part in parts)

    def _tokens(self, row: Row, pictures: int) -> Tokens:
        prompt, completion = self.texts(row, pictures)
        if pictures:
            prompt = prompt.replace(self.processor.boi_token, self.processor.full_image_sequence)
        return Tokens(self._ids(prompt), self._ids(completion))

    def _added_by(self, images: Sequence[Path], prompt: str) -> int:
        """Tokens that pictures of this size bring, beyond their marks in the prompt."""
        shape = self._shape(images)
        if images and shape not in self._added:
            shown = [open_pictures(images)]
            read = self.processor(text=[prompt], images=shown, return_tensors="pt", add_special_tokens=False)
            self._added[shape] = read["input_ids"].shape[1] - len(self._ids(prompt))
        return self._added.get(shape, 0)

    def _shape(self, images: Sequence[Path]) -> Any:
        """Pictures of the same shape become equally many tokens."""
        return len(images) if self.can_share else tuple(picture_size(path) for path in images)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _texts(row: Row) -> list[str]:
    return [*(turn["content"] for turn in row.prompt), row.completion]
