"""What hosts may take from one person: the way in, the voice, the chat

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("meeting_participants") as table:
        table.add_column(sa.Column("is_sent_back", sa.Boolean(), server_default=sa.false(), nullable=False))
        table.add_column(sa.Column("can_publish", sa.Boolean(), server_default=sa.true(), nullable=False))
        table.add_column(sa.Column("can_chat", sa.Boolean(), server_default=sa.true(), nullable=False))


def downgrade():
    with op.batch_alter_table("meeting_participants") as table:
        for name in ("can_chat", "can_publish", "is_sent_back"):
            table.drop_column(name)
