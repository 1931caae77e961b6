"""What the page of the Drive tab may send: one model per command, everything bounded, nothing unknown."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CLIENT = r"^[A-Za-z0-9_-]{8,64}$"


class Body(BaseModel):
    """What every command carries.

    Attributes:
        client: Random id of the page.
        reviewer: Who; the name of the login when the studio has a password.
    """

    model_config = ConfigDict(extra="forbid")
    client: str = Field(pattern=CLIENT)
    reviewer: str = Field("reviewer", min_length=1, max_length=60)


class LeaseBody(Body):
    """Become the operator; `take` also from somebody else."""

    take: bool = False


class OpenBody(Body):
    """Open a robot."""

    robot: str = Field(max_length=40)
    task: str = Field("", max_length=60)
    seed: int = Field(0, ge=0, le=1_000_000)
    host: str = Field("", max_length=200)
    port: int = Field(0, ge=0, le=65535)
    heartbeat_port: int = Field(0, ge=0, le=65535)
    key: str = Field("", max_length=100)
    server_key: str = Field("", max_length=100)


class SceneBody(Body):
    """Another scene."""

    task: str = Field(max_length=60)
    seed: int = Field(0, ge=0, le=1_000_000)


class ConfirmBody(Body):
    """A check that a person confirms."""

    name: str = Field(max_length=40)


class StartBody(Body):
    """Start a run."""

    policy: str = Field(max_length=200)
    instruction: str = Field(max_length=2000)
    mode: str = Field("step", max_length=20)
    episode: str = Field("", max_length=300)


class ModeBody(Body):
    """Ask more or less."""

    mode: str = Field(max_length=20)


class AnswerBody(Body):
    """Yes or no to a question."""

    key: str = Field(max_length=64)
    go: bool
    reason: str = Field("", max_length=300)


class SeenBody(Body):
    """The page shows this question."""

    key: str = Field(max_length=64)


class TypeBody(Body):
    """Action language; `done` when nothing more comes."""

    text: str = Field("", max_length=20_000)
    done: bool = False


class EditBody(Body):
    """Change what is about to be done, as it stood at a subtask and a cycle."""

    what: str = Field(max_length=20)
    text: str = Field(max_length=20_000)
    at: tuple[int, int] | None = None


class ReadBody(Body):
    """What would this text do?"""

    text: str = Field(max_length=20_000)


class RunstopBody(Body):
    """The run-stop of a simulated robot."""

    what: Literal["press", "release"]


class OutcomeBody(Body):
    """A person's word on a run."""

    outcome: str = Field("", max_length=20)
    notes: str = Field("", max_length=4000)
