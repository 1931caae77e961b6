"""Labelled recordings with real images, made on the spot; Hugging Face libraries kept off the network."""

import io
import os
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

# Read when `datasets` and `huggingface_hub` are imported, so they are set before any test module can do that.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

from vlm2vla.config import ExportConfig
from vlm2vla.dataset import LabelledEpisode, Selection
from vlm2vla.embodiment import WIDOWX
from vlm2vla.errors import CorruptRecordError
from vlm2vla.language import form, merge_steps, plan_of, verbalize_plan
from vlm2vla.motion import actions
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Episode, Provenance, Source

FORM = "rows:0.5cm"
TEXTS = ("Reach for the carrot", "Grasp the carrot", "Lift the carrot")
EDGES = (0, 5, 8, 12)


@dataclass(frozen=True)
class Frames:
    """A camera whose frame at a step is one colour; some steps may be broken."""

    steps: int
    shade: int
    ending: str = "JPEG"
    broken: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.steps

    def colour(self, step: int) -> tuple[int, int, int]:
        return (20 * step, self.shade, 255 - 20 * step)

    def read(self, step: int) -> bytes:
        if step in self.broken:
            raise CorruptRecordError("the frame does not decode", path="camera.bin", record=step)
        file = io.BytesIO()
        Image.new("RGB", (48, 32), self.colour(step)).save(file, self.ending)
        return file.getvalue()


def make_episode(number: int = 0, **changes) -> Episode:
    steps = EDGES[-1]
    states = np.zeros((steps, 7))
    states[:, 0] = 0.25 + 0.01 * np.minimum(np.arange(steps), 5)  # 5 cm forward
    states[:, 2] = 0.1 + 0.01 * np.maximum(np.arange(steps) - 8, 0)  # then 3 cm up
    states[:, 6] = np.where(np.arange(steps) < 6, 1.0, 0.1)
    commands = np.zeros((steps, 7))
    commands[:, 6] = (np.arange(steps) < 6).astype(float)
    values = {
        "id": f"kitchen-{number:04d}",
        "dataset": "kitchen",
        "source": Source("bridge-rlds", "/data/kitchen", ids={"file_path": "a/out.npy", "episode_id": str(number)}),
        "instruction": "put the carrot on the plate",
        "embodiment": WIDOWX,
        "rate_hz": 5.0,
        "states": states,
        "commands": commands,
        "cameras": {"image_0": Frames(steps, 10 + number), "image_1": Frames(steps, 200)},
        "paraphrases": ("place the carrot onto the plate",),
    }
    return Episode(**{**values, **changes})


def make_annotation(episode: Episode, statuses=("accepted", "accepted", "accepted")) -> AnnotatedEpisode:
    rows = actions(episode)
    words = form(FORM)
    subtasks = []
    for index, (text, start, end, status) in enumerate(zip(TEXTS, EDGES, EDGES[1:], statuses, strict=False)):
        before = float(rows[start - 1, 6]) if start else None
        chunk = words.quantize(merge_steps(rows[start:end], rotation=False, gripper_before=before))
        plan = verbalize_plan(plan_of(rows[start:end], gripper_before=before))
        sources = {"subtask": "person", "plan": "kinematic", "chunk": "kinematic"}
        subtasks.append(
            AnnotatedSubtask(f"s{index}-abc", text, start, end, plan, words.verbalize(chunk), sources, status=status)
        )
    provenance = (
        Provenance("kinematic", "kinematic 1", "2026-01-01T00:00:00+00:00", settings={"resolution_cm": 0.5}),
        Provenance("person", "ada", "2026-01-02T00:00:00+00:00"),
    )
    return AnnotatedEpisode(episode.id, FORM, tuple(subtasks), provenance)


def with_subtask(annotated: AnnotatedEpisode, index: int, **changes) -> AnnotatedEpisode:
    subtasks = list(annotated.subtasks)
    subtasks[index] = replace(subtasks[index], **changes)
    return replace(annotated, subtasks=tuple(subtasks))


def exportable(annotated: AnnotatedEpisode, episode: Episode, **settings) -> AnnotatedEpisode | None:
    """What an export keeps of the labels; None when that is nothing."""
    kept = list(Selection(**settings).of([LabelledEpisode(annotated, episode)]))
    return kept[0].annotated if kept else None


@pytest.fixture
def episode() -> Episode:
    return make_episode()


@pytest.fixture
def annotated(episode) -> AnnotatedEpisode:
    return make_annotation(episode)


@pytest.fixture
def items() -> list[LabelledEpisode]:
    """Two recordings, all labels accepted; of the third one's labels only the first and last."""
    whole = [make_episode(0), make_episode(1)]
    labelled = [LabelledEpisode(make_annotation(one), one, revision=3) for one in whole]
    holed = make_episode(2)
    statuses = ("accepted", "rejected", "accepted")
    return [*labelled, LabelledEpisode(make_annotation(holed, statuses), holed, revision=7)]


@pytest.fixture
def make():
    """Factories for tests that need something odd: make.episode, make.annotation, make.frames, make.subtask."""

    class Make:
        episode = staticmethod(make_episode)
        annotation = staticmethod(make_annotation)
        frames = Frames
        with_subtask = staticmethod(with_subtask)

    return Make


@pytest.fixture
def config(tmp_path) -> ExportConfig:
    return ExportConfig(out=tmp_path / "out")
