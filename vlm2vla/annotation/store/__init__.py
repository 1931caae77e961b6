"""The annotation store: append-only revisions, the review queue, leases, ratings. Opens SQLite or PostgreSQL."""

from vlm2vla.annotation.store.store import AnnotationStore
from vlm2vla.annotation.store.values import (
    Counts,
    ItemRow,
    Lease,
    Newest,
    NewRevision,
    PromptSurvival,
    QueueOrder,
    QueuePage,
    QueueQuery,
    QueueRow,
    Rating,
    Revision,
    RevisionInfo,
    SaveReport,
)

__all__ = [
    "AnnotationStore",
    "Counts",
    "ItemRow",
    "Lease",
    "NewRevision",
    "Newest",
    "PromptSurvival",
    "QueueOrder",
    "QueuePage",
    "QueueQuery",
    "QueueRow",
    "Rating",
    "Revision",
    "RevisionInfo",
    "SaveReport",
]
