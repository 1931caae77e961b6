"""Frozen values that the stages exchange.

Axis letters in shape comments: T steps of an episode, H rows of an action chunk, D action axes.
Metres, radians, seconds; gripper 1 open, 0 closed; manipulation frame (see `vlm2vla.embodiment`).
Arrays inside these values are read-only by convention: stages never mutate their inputs.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import AnnotationError, NotFoundError

if TYPE_CHECKING:
    from PIL import Image

Level = Literal["subtask", "plan", "chunk"]
LabelSource = Literal["kinematic", "gemini", "policy", "person"]
Status = Literal["pending", "in_review", "accepted", "rejected", "flagged"]
LEVELS: tuple[Level, ...] = get_args(Level)
STATUSES: tuple[Status, ...] = get_args(Status)


class FrameSource(Protocol):
    """Lazy images of one camera, one per step."""

    def __len__(self) -> int:
        """Number of frames, T."""
        ...

    def read(self, step: int) -> bytes:
        """Encoded image (JPEG or PNG) of `step`.

        Raises:
            CorruptRecordError: The file is missing or does not decode.
        """
        ...


@dataclass(frozen=True)
class Source:
    """Where an episode came from.

    Attributes:
        format: Reader that reads it ("bridge-rlds", "bridge-raw", "lerobot-v2", "lerobot-v3").
        path: File or folder on this computer.
        locator: What that reader needs to find the frames again (byte offset, file names, ...), JSON values.
        ids: The data set's own keys, e.g. {"file_path": ..., "episode_id": ...} of Bridge.
    """

    format: str
    path: str
    locator: Mapping[str, Any] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subtask:
    """What to do now, over steps [start_step, end_step)."""

    text: str
    start_step: int
    end_step: int


@dataclass(frozen=True, eq=False)
class Episode:
    """One recorded trajectory.

    Attributes:
        id: Stable and safe as a file name.
        dataset: Name of the data set it was imported under.
        source: Where it came from.
        instruction: The task in words; never empty.
        embodiment: The robot.
        rate_hz: True rate of the steps.
        states: [T, 7] float64 reached x y z, roll pitch yaw (unwrapped), measured gripper opening 0..1.
        commands: [T, 7] float64 commanded deltas and absolute gripper command, or None. A source with one frame more
            than actions has its last row padded with no motion and the last gripper command.
        cameras: Lazy frames by camera name; the first one is the default view. May be empty.
        paraphrases: Other wordings of the instruction.
        subtasks: Subtasks that came with the source.
        notes: What the reader decided on the way (constant camera left out, rows dropped, ...), for people.
    """

    id: str
    dataset: str
    source: Source
    instruction: str
    embodiment: Embodiment
    rate_hz: float
    states: np.ndarray
    commands: np.ndarray | None = None
    cameras: Mapping[str, FrameSource] = field(default_factory=dict)
    paraphrases: tuple[str, ...] = ()
    subtasks: tuple[Subtask, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of steps, T."""
        return len(self.states)

    def frame(self, step: int, camera: str | None = None) -> bytes:
        """Encoded image of `step` from `camera`, or from the default one.

        Raises:
            NotFoundError: No such camera or step.
            CorruptRecordError: The file is missing or does not decode.
        """
        name = camera or next(iter(self.cameras), "")
        if name not in self.cameras:
            raise NotFoundError(f"{self.id} has no camera {name!r}; it has {', '.join(self.cameras) or 'none'}")
        if not 0 <= step < len(self):
            raise NotFoundError(f"{self.id} has no step {step}; its steps are 0 to {len(self) - 1}")
        return self.cameras[name].read(step)

    def image(self, step: int, camera: str | None = None) -> "Image.Image":
        """Decoded RGB image of `step`; errors as `frame`."""
        from PIL import Image

        return Image.open(io.BytesIO(self.frame(step, camera))).convert("RGB")


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """Relative end-effector motions that are carried out one after the other.

    Attributes:
        rows: [H, D] float64. D = 4: dx dy dz gripper; D = 7: dx dy dz droll dpitch dyaw gripper.
            Metres and radians; gripper is an absolute command, 1 open, 0 closed.
    """

    rows: np.ndarray

    def __post_init__(self):
        rows = np.asarray(self.rows, dtype=np.float64)
        if rows.size == 0:
            rows = rows.reshape(0, rows.shape[1] if rows.ndim == 2 and rows.shape[1] in (4, 7) else 4)
        if rows.ndim != 2 or rows.shape[1] not in (4, 7):
            raise AnnotationError(f"an action chunk is [H, 4] or [H, 7], not {rows.shape}")
        object.__setattr__(self, "rows", rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ActionChunk)
            and self.rows.shape == other.rows.shape
            and np.allclose(self.rows, other.rows, atol=1e-9)
        )

    @property
    def translation(self) -> np.ndarray:
        """[3] total dx dy dz, metres."""
        return self.rows[:, :3].sum(axis=0)

    @property
    def rotation(self) -> np.ndarray | None:
        """[3] total droll dpitch dyaw, radians; None in the translation-only form."""
        return self.rows[:, 3:6].sum(axis=0) if self.rows.shape[1] == 7 else None

    @property
    def gripper(self) -> np.ndarray:
        """[H] gripper command of each row, 1 open, 0 closed."""
        return self.rows[:, -1]


@dataclass(frozen=True)
class Provenance:
    """Where labels come from: enough to make them again and to pay the bill.

    Attributes:
        source: Who wrote them.
        author: A person's name, or the annotator's name and version.
        model: Model id that was asked, and `model_version` the one that answered.
        prompt_hash: Hash of the prompt texts and the schema.
        settings: Everything else that shaped the labels (thresholds, sampling, action form), JSON values.
        input_tokens, output_tokens, cost_usd: What it took; 0 when free.
        seconds: Wall time of the making.
        created_at: ISO 8601 time, UTC.
    """

    source: LabelSource
    author: str
    created_at: str
    model: str = ""
    model_version: str = ""
    prompt_hash: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class AnnotatedSubtask:
    """One subtask with its motion plan and its action chunk in words.

    Attributes:
        uid: Stable key within the episode; it survives edits of text and boundaries.
        text: The subtask ("Grasp the carrot").
        start_step, end_step: Half-open span of steps.
        plan: The motion plan ("move down and slightly forward, then close the gripper").
        chunk: The action text, in the form named by `AnnotatedEpisode.action_form`.
        sources: Who wrote each level.
        stale: Levels whose text was written for other boundaries than the span has now.
        status: Where the review stands; `reason` says why it was rejected or flagged.
    """

    uid: str
    text: str
    start_step: int
    end_step: int
    plan: str
    chunk: str
    sources: Mapping[Level, LabelSource]
    stale: tuple[Level, ...] = ()
    status: Status = "pending"
    reason: str = ""

    def level(self, level: Level) -> str:
        """The text of one level."""
        return {"subtask": self.text, "plan": self.plan, "chunk": self.chunk}[level]

    def with_level(self, level: Level, text: str, source: LabelSource) -> "AnnotatedSubtask":
        """A copy with one level rewritten; it is no longer stale."""
        name = "text" if level == "subtask" else level
        return replace(
            self,
            **{name: text},
            sources={**self.sources, level: source},
            stale=tuple(entry for entry in self.stale if entry != level),
        )


@dataclass(frozen=True)
class AnnotatedEpisode:
    """The annotation of one episode: subtasks + motion plans + action text + provenance.

    Attributes:
        episode_id: Whose annotation it is.
        action_form: Name of the action form of every chunk, e.g. "rows:0.5cm" (see `vlm2vla.language.form`).
        subtasks: In order of time.
        provenance: One entry per source that contributed, the newest last.
    """

    episode_id: str
    action_form: str
    subtasks: tuple[AnnotatedSubtask, ...]
    provenance: tuple[Provenance, ...] = ()

    def find(self, uid: str) -> AnnotatedSubtask:
        """The subtask called `uid`.

        Raises:
            NotFoundError: There is none.
        """
        for subtask in self.subtasks:
            if subtask.uid == uid:
                return subtask
        raise NotFoundError(f"{self.episode_id} has no subtask {uid!r}; it may have been merged or removed")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AnnotatedEpisode":
        """Inverse of `to_json`.

        Raises:
            AnnotationError: The data is not an annotation.
        """
        try:
            subtasks = tuple(
                AnnotatedSubtask(**{**row, "stale": tuple(row.get("stale", ()))}) for row in data["subtasks"]
            )
            provenance = tuple(Provenance(**row) for row in data.get("provenance", ()))
            return cls(data["episode_id"], data["action_form"], subtasks, provenance)
        except (KeyError, TypeError) as error:
            raise AnnotationError(f"not an annotation: {error}") from error

    def dumps(self) -> str:
        """`to_json` as text with sorted keys, so that equal annotations give equal text."""
        return json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True)
