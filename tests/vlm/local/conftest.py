"""Conversations to ask."""

import pytest

from tests.vlm.tiny_model import picture
from vlm2vla.vlm.chat import Message
from vlm2vla.vlm.protocol import ImagePart


@pytest.fixture
def look():
    """A question about a picture; another number is another picture."""

    def ask(text="what colour is the cube?", number=1, system="you are a robot arm."):
        image = ImagePart(picture(number), "image/png")
        return (Message("system", (system,)), Message("user", (image, text)))

    return ask
