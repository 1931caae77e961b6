"""Messages as the tokens that a model reads: its own chat template, its own image places, nothing else.

The same template serves training and inference, so a conversation becomes the same tokens in both.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from vlm2vla.errors import ModelInputError
from vlm2vla.vlm.chat import Message
from vlm2vla.vlm.local.images import digest
from vlm2vla.vlm.protocol import ImagePart

_ACTION_TOKEN = re.compile(r"<unused\d+>")


@dataclass(frozen=True)
class Place:
    """Where an image stands in a prompt.

    Attributes:
        start: Index of its first token.
        key: Stands for its content, see `images.digest`.
        part: The encoded image.
    """

    start: int
    key: int
    part: ImagePart


@dataclass(frozen=True)
class Prompt:
    """A conversation as tokens.

    Attributes:
        ids: Token ids; an image is a run of the model's image token.
        keys: The same, with the content of images instead of the image token: equal keys mean equal prompts.
        places: The images, in order.
        given: The beginning of the answer that the conversation ends with, "" for none.
        given_ids: Its tokens, the last ones of `ids`.
    """

    ids: tuple[int, ...]
    keys: tuple[int, ...]
    places: tuple[Place, ...]
    given: str = ""
    given_ids: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


class PromptMaker:
    """Makes the prompts of one model."""

    def __init__(self, processor: Any, image_token_id: int):
        """Use a processor of the Gemma 3 kind.

        Args:
            processor: Its chat template, tokenizer and image sequence are used.
            image_token_id: The token that stands for a piece of an image.
        """
        self._processor, self._tokenizer = processor, processor.tokenizer
        self._image_token = image_token_id
        self._mark, self._sequence = processor.boi_token, processor.full_image_sequence
        self.per_image = int(processor.image_seq_length)
        # Action tokens may be special in a tokenizer, but they are said in messages and answers.
        special = {number for number, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        names = {number: self._tokenizer.convert_ids_to_tokens(number) for number in special}
        names |= dict(zip(self._tokenizer.all_special_ids, self._tokenizer.all_special_tokens, strict=True))
        names[image_token_id] = self._tokenizer.convert_ids_to_tokens(image_token_id)
        self._control = {number: name for number, name in names.items() if not _ACTION_TOKEN.fullmatch(name)}
        self.control_ids = frozenset(self._control)

    def make(self, messages: Sequence[Message]) -> Prompt:
        """The tokens of a conversation that the model answers next, or whose last answer it continues.

        Raises:
            ModelInputError: Nothing is asked, an order of turns that the template refuses, or the model's own marks
                in a text.
        """
        given = messages[-1].text if messages and messages[-1].role == "assistant" else ""
        asked = messages[:-1] if messages and messages[-1].role == "assistant" else messages
        if not asked or asked[-1].role != "user" or not any(part for part in asked[-1].parts):
            raise ModelInputError("nothing is asked: a conversation needs a question, in words or with an image")
        for message in messages:
            self._refuse_control(message.text)
        text = self._text(asked)
        pieces = text.split(self._mark)
        images = [part for message in asked for part in message.images]
        if len(pieces) != len(images) + 1:
            raise ModelInputError(f"this model's chat template shows {len(pieces) - 1} of {len(images)} images")
        ids = self._ids(self._sequence.join(pieces))
        given_ids = self._ids(given) if given else []
        return self._place(ids, given_ids, images, given)

    def ids(self, text: str) -> list[int]:
        """Tokens of a text as an answer has them.

        Raises:
            ModelInputError: It holds the model's own marks.
        """
        self._refuse_control(text)
        return self._ids(text)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def _refuse_control(self, text: str) -> None:
        for token in self._control.values():
            if token in text:
                raise ModelInputError(f"{token} is a mark of the model itself and cannot stand in a message")

    def _text(self, messages: Sequence[Message]) -> str:
        try:
            return self._processor.apply_chat_template(as_chat(messages), tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise ModelInputError(f"the model's chat template refuses the conversation: {error}") from error

    def _place(self, ids: list[int], given_ids: list[int], images: list[ImagePart], given: str) -> Prompt:
        keys, places, position = list(ids), [], 0
        for part in images:
            position = ids.index(self._image_token, position)
            key, end = digest(part), position + self.per_image
            keys[position:end] = [key] * self.per_image
            places.append(Place(position, key, part))
            position = end
        return Prompt((*ids, *given_ids), (*keys, *given_ids), tuple(places), given, tuple(given_ids))


def as_chat(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages in the form that chat templates take; images without their content."""
    return [
        {
            "role": message.role,
            "content": [
                {"type": "image"} if isinstance(part, ImagePart) else {"type": "text", "text": part}
                for part in message.parts
            ],
        }
        for message in messages
    ]
