"""Tables of the annotation store.

One row per episode with everything the queue shows (so that no body is read for a list), and append-only revisions.
Nothing updates or deletes a revision. The migrations create the tables; a test keeps both equal.
"""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, Text, text
from sqlmodel import Field, SQLModel

_BIG_KEY = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself in SQLite

# SQLite scans these indexes instead of the table, which is several times as large. PostgreSQL limits the size of an
# index row, so the one with the text is not for it.
COUNT_INDEX = "ix_annotation_item_count"
FILTER_INDEX = "ix_annotation_item_filter"
_FILTERED = ("status", "dataset", "source", "machine", "reviewer", "risk", "updated_at", "search_text")
_ACCOUNT = ("source", "model", "prompt_hash", "level")
ACCOUNT_NUMBERS = ("kept", "changed", "dropped", "characters", "characters_kept")


def _number() -> Column:
    return Column(Integer, nullable=False, server_default=text("0"))


def _text() -> Column:
    return Column(Text, nullable=False, server_default=text("''"))


class Item(SQLModel, table=True):
    """One episode: what the queue filters, sorts and shows.

    Attributes:
        head: Newest revision, 0 for none; the optimistic lock.
        machine_head: Newest revision by a machine, 0 for none.
        status: Derived from the head's subtasks; leases are not in it.
        search_text: Instruction and id, case-folded.
        instruction_key: Start of the case-folded instruction; short, because index rows are limited.
    """

    __tablename__ = "annotation_item"
    __table_args__ = (
        Index("ix_annotation_item_risk", text("risk DESC"), "id"),
        Index("ix_annotation_item_instruction", "instruction_key", "id"),
        Index("ix_annotation_item_updated", "updated_at", "id"),
        Index("ix_annotation_item_dataset", "dataset", "id"),
        Index(COUNT_INDEX, "dataset", "status"),
        Index(FILTER_INDEX, *_FILTERED).ddl_if(dialect="sqlite"),
    )

    id: int | None = Field(default=None, sa_column=Column(_BIG_KEY, primary_key=True))
    episode_id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    dataset: str = Field(sa_column=_text())
    status: str = Field(sa_column=Column(Text, nullable=False, server_default=text("'pending'")))
    source: str = Field(sa_column=_text())
    machine: str = Field(sa_column=_text())
    reviewer: str = Field(sa_column=_text())
    risk: float = Field(sa_column=Column(Float, nullable=False, server_default=text("0")))
    errors: int = Field(sa_column=_number())
    warnings: int = Field(sa_column=_number())
    head: int = Field(sa_column=_number())
    machine_head: int = Field(sa_column=_number())
    steps: int = Field(sa_column=_number())
    updated_at: str = Field(sa_column=_text())
    search_text: str = Field(sa_column=_text())
    instruction: str = Field(sa_column=_text())
    instruction_key: str = Field(sa_column=_text())


def _item_key(**options: bool) -> Column:
    return Column(_BIG_KEY, ForeignKey("annotation_item.id", ondelete="CASCADE"), nullable=False, **options)


class RevisionRow(SQLModel, table=True):
    """One saved state of one episode's annotation.

    Attributes:
        restores: The edit whose text this is, for undo and redo; the revision gone back to, for revert; else 0.
        position: Number of the edit or revert that undo and redo count from: its own, or of what it restores.
        undo_to: Position that undo leads to; 0 for none.
        redo_to: Position that redo leads to; 0 for none.
        body: `AnnotatedEpisode.dumps`. The last column, so that reading a history skips it.
    """

    __tablename__ = "annotation_revision"

    item_id: int = Field(sa_column=_item_key(primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    parent: int = Field(sa_column=_number())
    kind: str = Field(sa_column=_text())
    restores: int = Field(sa_column=_number())
    position: int = Field(sa_column=_number())
    undo_to: int = Field(sa_column=_number())
    redo_to: int = Field(sa_column=_number())
    author: str = Field(sa_column=_text())
    source: str = Field(sa_column=_text())
    created_at: str = Field(sa_column=_text())
    note: str = Field(sa_column=_text())
    status: str = Field(sa_column=_text())
    risk: float = Field(sa_column=Column(Float, nullable=False, server_default=text("0")))
    errors: int = Field(sa_column=_number())
    warnings: int = Field(sa_column=_number())
    body: str = Field(sa_column=_text())


class LeaseRow(SQLModel, table=True):
    """Who works on an item, until when."""

    __tablename__ = "annotation_lease"
    __table_args__ = (Index("ix_annotation_lease_expires", "expires_at", "item_id"),)

    item_id: int = Field(sa_column=_item_key(primary_key=True, autoincrement=False))
    holder: str = Field(sa_column=_text())
    acquired_at: str = Field(sa_column=_text())
    expires_at: str = Field(sa_column=_text())


class RatingRow(SQLModel, table=True):
    """One reviewer's score of one level of one subtask."""

    __tablename__ = "annotation_rating"

    item_id: int = Field(sa_column=_item_key(primary_key=True, autoincrement=False))
    uid: str = Field(sa_column=Column(Text, primary_key=True))
    level: str = Field(sa_column=Column(Text, primary_key=True))
    reviewer: str = Field(sa_column=Column(Text, primary_key=True))
    score: int = Field(sa_column=_number())
    rated_at: str = Field(sa_column=_text())


class SurvivalRow(SQLModel, table=True):
    """What is left of one prompt's labels in one episode; made anew from the revisions at every save."""

    __tablename__ = "annotation_survival"
    __table_args__ = (Index("ix_annotation_survival_sum", *_ACCOUNT, *ACCOUNT_NUMBERS),)

    item_id: int = Field(sa_column=_item_key(primary_key=True, autoincrement=False))
    source: str = Field(sa_column=Column(Text, primary_key=True))
    model: str = Field(sa_column=Column(Text, primary_key=True))
    prompt_hash: str = Field(sa_column=Column(Text, primary_key=True))
    level: str = Field(sa_column=Column(Text, primary_key=True))
    kept: int = Field(sa_column=_number())
    changed: int = Field(sa_column=_number())
    dropped: int = Field(sa_column=_number())
    characters: int = Field(sa_column=_number())
    characters_kept: int = Field(sa_column=_number())


ITEM = Item.__table__
REVISION = RevisionRow.__table__
LEASE = LeaseRow.__table__
RATING = RatingRow.__table__
SURVIVAL = SurvivalRow.__table__
TABLES = (ITEM, REVISION, LEASE, RATING, SURVIVAL)
