"""What leaves the ledger for an archive leaves a tombstone

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = sa.String(length=26)
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.add_column("streams", sa.Column("archived_seq", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("meetings", sa.Column("archived_at", TIME, nullable=True))
    op.create_index(
        "ix_meetings_unarchived",
        "meetings",
        ["ended_at", "id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NOT NULL AND archived_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NOT NULL AND archived_at IS NULL"),
    )
    op.create_table(
        "ledger_tombstones",
        sa.Column("stream", sa.String(length=64), nullable=False),
        sa.Column("from_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=False),
        sa.Column("meeting_id", ID, nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.Column("object_key", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("archived_at", TIME, nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.CheckConstraint("from_seq > 0 AND event_count > 0", name=op.f("ck_ledger_tombstones_order")),
        sa.CheckConstraint("event_count = to_seq - from_seq + 1", name=op.f("ck_ledger_tombstones_gapless")),
        sa.PrimaryKeyConstraint("stream", "from_seq", name=op.f("pk_ledger_tombstones")),
    )
    op.create_index("ix_ledger_tombstones_object_key", "ledger_tombstones", ["object_key"], unique=False)
    op.create_index("ix_ledger_tombstones_meeting_id", "ledger_tombstones", ["meeting_id"], unique=False)
    op.create_index("ix_webhook_cursors_meeting_id", "webhook_cursors", ["meeting_id"], unique=False)


def downgrade():
    op.drop_index("ix_webhook_cursors_meeting_id", table_name="webhook_cursors")
    op.drop_table("ledger_tombstones")
    op.drop_index("ix_meetings_unarchived", table_name="meetings")
    with op.batch_alter_table("meetings") as table:
        table.drop_column("archived_at")
    with op.batch_alter_table("streams") as table:
        table.drop_column("archived_seq")
