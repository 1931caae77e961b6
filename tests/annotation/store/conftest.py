"""Stores of the tests: SQLite always, PostgreSQL when VLM2VLA_TEST_POSTGRES_URL names an empty database."""

import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from vlm2vla.annotation.store import AnnotationStore, ItemRow
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Provenance, Status

POSTGRES_VARIABLE = "VLM2VLA_TEST_POSTGRES_URL"


class Clock:
    """Time that stands still until told otherwise."""

    def __init__(self):
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _postgres_url(request: pytest.FixtureRequest) -> str:
    """A database of its own on the server, dropped after the test."""
    server = os.environ.get(POSTGRES_VARIABLE)
    if not server:
        pytest.skip(f"{POSTGRES_VARIABLE} is not set: no PostgreSQL server to test with")
    import psycopg

    name = f"vlm2vla_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")

    def drop() -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    request.addfinalizer(drop)
    return f"{server.rsplit('/', 1)[0]}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path) -> str:
    """Where a new store may be made."""
    return f"sqlite:///{tmp_path / 'studio.db'}" if request.param == "sqlite" else _postgres_url(request)


@pytest.fixture
def store(url, clock) -> AnnotationStore:
    """An empty store."""
    with AnnotationStore.open(url, clock=clock) as store:
        yield store


@pytest.fixture
def annotated() -> Callable[..., AnnotatedEpisode]:
    """Makes annotations: annotated("ep1", "reach", "grasp", statuses=("accepted", "pending"))."""

    def make(
        episode_id: str,
        *texts: str,
        statuses: tuple[Status, ...] = (),
        source: str = "kinematic",
        model: str = "",
        prompt_hash: str = "",
    ) -> AnnotatedEpisode:
        texts = texts or ("reach the carrot", "grasp the carrot")
        rows = tuple(
            AnnotatedSubtask(
                uid=f"s{index}",
                text=text,
                start_step=10 * index,
                end_step=10 * index + 10,
                plan=f"move down for {text}",
                chunk="[[0, 0, -2.5, 1]]",
                sources=dict.fromkeys(("subtask", "plan", "chunk"), source),
                status=statuses[index] if index < len(statuses) else "pending",
            )
            for index, text in enumerate(texts)
        )
        made = Provenance(source, f"{source} 1", "2026-05-01T00:00:00Z", model=model, prompt_hash=prompt_hash)
        return AnnotatedEpisode(episode_id, "rows:0.5cm", rows, (made,))

    return make


@pytest.fixture
def filled(store, annotated) -> AnnotationStore:
    """A store with one registered and machine-annotated episode, "ep1"."""
    store.register([ItemRow("ep1", "bridge", "put the carrot on the plate", 38)])
    store.save(annotated("ep1"), author="kinematic 1", source="kinematic", base=0, risk=0.25, warnings=2)
    return store


@pytest.fixture
def damage(url) -> Callable[[str, int, str], None]:
    """Overwrites a stored body behind the store's back: damage("ep1", 2, "{")."""

    def overwrite(episode_id: str, number: int, body: str) -> None:
        from sqlalchemy import create_engine, text

        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE annotation_revision SET body = :body WHERE number = :number"
                    " AND item_id = (SELECT id FROM annotation_item WHERE episode_id = :episode_id)"
                ),
                {"body": body, "number": number, "episode_id": episode_id},
            )
        engine.dispose()

    return overwrite
