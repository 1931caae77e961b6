"""What the stages share: the store of a workspace, its index, and the progress callback."""

from collections.abc import Callable

from vlm2vla.annotation.store import AnnotationStore, ItemRow
from vlm2vla.config import did_you_mean
from vlm2vla.errors import NotFoundError
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.workspace import Workspace

Progress = Callable[[int, int | None], None] | None


def open_store(workspace: Workspace) -> AnnotationStore:
    """The annotation store of a workspace."""
    return AnnotationStore.open(workspace.database_url)


def register(index: EpisodeIndex, store: AnnotationStore) -> int:
    """Put every indexed episode in the review queue; returns how many were new."""
    return store.register(ItemRow(row.id, row.dataset, row.instruction, row.steps) for row in index.summaries())


def known_dataset(name: str, index: EpisodeIndex) -> None:
    """Say so when a data set is not in the workspace (NotFoundError); an empty name means all of them."""
    known = index.datasets()
    if name and name not in known:
        raise NotFoundError(f"no data set {name!r} in this workspace; {did_you_mean(name, known)}")
