"""Items, revisions, leases, ratings, survival."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, default: str = "") -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False, server_default=sa.text(f"'{default}'"))


def _texts(*names: str) -> list[sa.Column]:
    return [_text(name) for name in names]


def _numbers(*names: str) -> list[sa.Column]:
    return [sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0")) for name in names]


def _risk() -> sa.Column:
    return sa.Column("risk", sa.Float(), nullable=False, server_default=sa.text("0"))


def _item_id() -> sa.Column:
    return sa.Column("item_id", _KEY, sa.ForeignKey("annotation_item.id", ondelete="CASCADE"), nullable=False)


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "annotation_item",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("episode_id", sa.Text(), nullable=False, unique=True),
        _text("dataset"),
        _text("status", "pending"),
        *_texts("source", "machine", "reviewer"),
        _risk(),
        *_numbers("errors", "warnings", "head", "machine_head", "steps"),
        *_texts("updated_at", "search_text", "instruction", "instruction_key"),
    )
    risk = sa.text("risk DESC")
    op.create_index("ix_annotation_item_risk", "annotation_item", [risk, "id"])
    op.create_index("ix_annotation_item_instruction", "annotation_item", ["instruction_key", "id"])
    op.create_index("ix_annotation_item_updated", "annotation_item", ["updated_at", "id"])
    op.create_index("ix_annotation_item_dataset", "annotation_item", ["dataset", "id"])
    op.create_index("ix_annotation_item_count", "annotation_item", ["dataset", "status"])
    if op.get_bind().dialect.name == "sqlite":
        short = ["status", "dataset", "source", "machine", "reviewer", "risk", "updated_at"]
        op.create_index("ix_annotation_item_filter", "annotation_item", [*short, "search_text"])
    op.create_table(
        "annotation_revision",
        _item_id(),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        *_numbers("parent"),
        _text("kind"),
        *_numbers("restores", "position", "undo_to", "redo_to"),
        *_texts("author", "source", "created_at", "note", "status"),
        _risk(),
        *_numbers("errors", "warnings"),
        _text("body"),
        sa.PrimaryKeyConstraint("item_id", "number"),
    )
    op.create_table(
        "annotation_lease",
        _item_id(),
        *_texts("holder", "acquired_at", "expires_at"),
        sa.PrimaryKeyConstraint("item_id"),
    )
    op.create_index("ix_annotation_lease_expires", "annotation_lease", ["expires_at", "item_id"])
    op.create_table(
        "annotation_rating",
        _item_id(),
        *_texts("uid", "level", "reviewer"),
        *_numbers("score"),
        _text("rated_at"),
        sa.PrimaryKeyConstraint("item_id", "uid", "level", "reviewer"),
    )
    op.create_table(
        "annotation_survival",
        _item_id(),
        *_texts("source", "model", "prompt_hash", "level"),
        *_numbers("kept", "changed", "dropped", "characters", "characters_kept"),
        sa.PrimaryKeyConstraint("item_id", "source", "model", "prompt_hash", "level"),
    )
    op.create_index(
        "ix_annotation_survival_sum",
        "annotation_survival",
        ["source", "model", "prompt_hash", "level", "kept", "changed", "dropped", "characters", "characters_kept"],
    )


def downgrade() -> None:
    """Drop all tables."""
    for name in ("survival", "rating", "lease", "revision", "item"):
        op.drop_table(f"annotation_{name}")
