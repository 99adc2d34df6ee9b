"""What LiveKit reports is stored before it is acknowledged; a stay keeps the identity it had there

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "livekit_inbox",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_livekit_inbox")),
    )
    op.create_index("ix_livekit_inbox_received_at", "livekit_inbox", ["received_at"])
    with op.batch_alter_table("stays") as table:
        table.add_column(sa.Column("media_identity", sa.String(length=40)))
    op.create_index("ix_stays_media_identity", "stays", ["media_identity"])
    # The identities of earlier stays are gone; a token lives ten minutes at most.
    op.execute(
        "UPDATE stays SET media_identity = (SELECT media_identity FROM meeting_participants p "
        "WHERE p.id = stays.participant_id) WHERE left_at IS NULL"
    )


def downgrade():
    op.drop_index("ix_stays_media_identity", table_name="stays")
    with op.batch_alter_table("stays") as table:
        table.drop_column("media_identity")
    op.drop_table("livekit_inbox")
