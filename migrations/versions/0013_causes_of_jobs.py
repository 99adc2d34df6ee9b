"""What a job follows from: the id of its request, and its place in a trace

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("outbox") as table:
        table.add_column(sa.Column("request_id", sa.String(length=128)))
        table.add_column(sa.Column("trace", sa.String(length=55)))


def downgrade():
    with op.batch_alter_table("outbox") as table:
        table.drop_column("trace")
        table.drop_column("request_id")
