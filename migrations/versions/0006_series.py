"""Meetings that belong together, so that a ban from one holds for all

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("meetings") as table:
        table.add_column(sa.Column("series_id", sa.String(length=26), nullable=True))
        table.create_index("ix_meetings_series_id", ["series_id"])


def downgrade():
    with op.batch_alter_table("meetings") as table:
        table.drop_index("ix_meetings_series_id")
        table.drop_column("series_id")
