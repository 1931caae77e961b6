"""A VQA set on disk, and models whose answers are a function."""

import io
import json
import random

import pytest
from PIL import Image

from vlm2vla.errors import ModelError
from vlm2vla.vlm.chat import Token


def picture(colour=(200, 40, 40), size=(24, 16), kind="JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


class Answering:
    """A `ChatModel` that answers with a function of the text of the question."""

    def __init__(self, name, answer):
        self.name, self.answer, self.asked = name, answer, []

    def stream(self, messages, sampling, *, stopped=None):
        self.asked.append(messages)
        for word in self.answer(messages, sampling).split(" "):
            yield Token(word + " ", -0.1)

    def score(self, messages, answer):
        raise ModelError("it cannot score")


@pytest.fixture
def answering():
    return Answering


@pytest.fixture
def jpeg():
    return picture


@pytest.fixture
def colours(tmp_path):
    return write_colours(tmp_path / "colours")


def write_colours(folder):
    """A folder set: 40 questions about 20 images, options in words, two skills."""
    (folder / "images").mkdir(parents=True)
    rng, rows = random.Random(0), []
    for number in range(20):
        (folder / "images" / f"{number}.jpg").write_bytes(picture((number * 10, 40, 40)))
        for skill, options in (("colour", ["red", "green", "blue"]), ("exists", ["yes", "no"])):
            rows.append(
                {
                    "id": f"{skill}{number}",
                    "image": f"images/{number}.jpg",
                    "skill": skill,
                    "language": "en",
                    "question": f"{skill} number {number}?",
                    "answer": rng.choice(options),
                    "options": options if skill == "colour" else None,
                    "scorer": "choice" if skill == "colour" else "yes_no",
                }
            )
    (folder / "items.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder
