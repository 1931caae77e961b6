"""A question as it is put to a model: the words around it, lettered options and their rotations, blank pictures.

Base and fine-tuned models are asked with exactly the same words. `WORDING` stands in every run, so that answers to
other words are never mixed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vlm2vla.evaluation.items import LETTERS, Item, VqaSet
from vlm2vla.evaluation.pictures import blank_like
from vlm2vla.evaluation.scorers import Truth
from vlm2vla.vlm.chat import Message

WORDING = "1"
_LETTER_ORDER = {
    "en": "Answer with the option's letter from the given choices directly.",
    "zh": "\u8bf7\u76f4\u63a5\u56de\u7b54\u9009\u9879\u5b57\u6bcd\u3002",
}


@dataclass(frozen=True)
class Asked:
    """One item in one order of its options.

    Attributes:
        item: The item.
        rotation: By how many places the options are rotated; 0 is the set's own order.
        repeat: Number of the repetition, where the same is asked several times.
    """

    item: Item
    rotation: int = 0
    repeat: int = 0

    @property
    def key(self) -> str:
        """Unique in a run."""
        return f"{self.item.id}/{self.rotation}/{self.repeat}"

    @property
    def truth(self) -> Truth:
        """What is right for the options as they are shown."""
        item = self.item
        options = _rotated(item.options, self.rotation)
        correct = options.index(item.answers[0]) if item.lettered else -1
        return Truth(item.answers, options, correct, item.lettered, self.key)

    def messages(self, suffix: str = "", *, blank: bool = False) -> tuple[Message, ...]:
        """The conversation: pictures, then the text.

        Args:
            suffix: The set's order how to answer, behind questions without lettered options.
            blank: Show grey pictures of the same size in place of the real ones.

        Raises:
            EvaluationError: A picture cannot be read.
        """
        pictures = [picture.read() for picture in self.item.pictures]
        shown = [blank_like(picture) for picture in pictures] if blank else pictures
        return (Message("user", (*shown, self.text(suffix))),)

    def text(self, suffix: str = "") -> str:
        """All words of the question."""
        item = self.item
        lines = [item.hint, item.question]
        if item.lettered:
            lines += [f"{letter}. {option}" for letter, option in zip(LETTERS, self.truth.options, strict=False)]
            lines.append(_LETTER_ORDER.get(item.language, _LETTER_ORDER["en"]))
        else:
            lines.append(suffix)
        return "\n".join(line for line in lines if line)


def questions(vqa: VqaSet, *, circular: bool = False, repeats: int = 1) -> Iterator[Asked]:
    """Every question of a set.

    Args:
        vqa: The set.
        circular: Ask lettered questions once in each rotation of their options, unless the set holds the rotated
            copies itself.
        repeats: Ask everything this many times (with a temperature above 0, to see whether a model agrees with itself).
    """
    for item in vqa.items:
        rotations = len(item.options) if circular and item.lettered and not item.circular_of else 1
        for rotation in range(rotations):
            for repeat in range(repeats):
                yield Asked(item, rotation, repeat)


def _rotated(options: tuple[str, ...], places: int) -> tuple[str, ...]:
    return options[places:] + options[:places]
