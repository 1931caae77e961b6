"""Episodes with frames, and answers of a model that fit them."""

import io
import json
import re
from dataclasses import dataclass, replace

import pytest
from PIL import Image

from vlm2vla.types import Episode


@dataclass(frozen=True)
class Coloured:
    """Frames whose red is the step number."""

    steps: int

    def __len__(self):
        return self.steps

    def read(self, step):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 48), (step % 256, 0, 128)).save(buffer, "PNG")
        return buffer.getvalue()


@pytest.fixture
def film():
    """Give an episode a camera."""
    return lambda episode: replace(episode, cameras={"front": Coloured(len(episode))})


@pytest.fixture
def filmed(pick_and_place, film) -> Episode:
    """`pick_and_place` with a camera: 38 steps, grasp at 12, release at 32."""
    return film(pick_and_place)


@pytest.fixture
def many(filmed):
    """Ten episodes that differ in their id and instruction."""
    return [replace(filmed, id=f"episode-{n:02}", instruction=f"put carrot {n} on plate") for n in range(10)]


def good_answer(request) -> str:
    """Valid for either pass; three subtasks."""
    if "task_done" in json.dumps(request.schema.model_json_schema()):
        return json.dumps({"objects": ["carrot"], "events": [{"step": 0, "what": "It moves."}], "task_done": True})
    first, end = map(int, re.search(r"starts at step (\d+); the last one ends at step (\d+)", request.text).groups())
    cuts = [first, first + (end - first) // 3, first + 2 * (end - first) // 3, end]
    rows = [
        {"subtask": f"Part {n}", "motion_plan": "move down", "start_step": cuts[n], "end_step": cuts[n + 1]}
        for n in range(3)
    ]
    return json.dumps({"subtasks": rows})


@pytest.fixture
def answer():
    return good_answer
