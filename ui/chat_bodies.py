"""What the Chat page may send: one pydantic class per request, unknown fields refused."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    """Of every request."""

    model_config = ConfigDict(extra="forbid")


class New(Body):
    """Begin a conversation."""

    models: list[str] = Field(min_length=1, max_length=4)
    blind: bool = False
    system: str = ""
    name: str = ""


class Ask(Body):
    """Ask a question, or ask another one instead of an earlier one."""

    text: str = Field(max_length=40_000)
    images: list[str] = Field(default=[], max_length=4)
    instead_of: int | None = None


class Change(Body):
    """Change what comes next."""

    name: str | None = None
    system: str | None = None
    models: list[str] | None = None
    sampling: dict[str, float | int | str] | None = None


class VoteOn(Body):
    """Vote on the answers to one question."""

    exchange: int
    choice: str
    reviewer: str = Field("reviewer", max_length=60)


class Lens(Body):
    """Texts to score as answers to one question."""

    exchange: int
    texts: list[str] = Field(min_length=1, max_length=8)


class Chunks(Body):
    """Score annotated chunks under these models."""

    models: list[str] = Field(min_length=1, max_length=4)
    count: int = Field(20, ge=1, le=500)


class FromFrame(Body):
    """A frame of a recorded episode as image of a question."""

    episode: str
    camera: str
    step: int


class AddModel(Body):
    """A model under a name: a folder, a hub id, or the address of a server."""

    name: str = Field(max_length=64)
    where: str = Field(max_length=1000)
    base: str = Field("", max_length=1000)
    model: str = Field("", max_length=200)
    actions: Literal["language", "tokens", ""] = ""


class OpenItem(Body):
    """A question of a VQA set."""

    item: str = Field(max_length=500)
