"""Wrong passcodes, counted

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "passcode_attempts",
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("meeting_id", "client", name=op.f("pk_passcode_attempts")),
    )
    op.create_index("ix_passcode_attempts_began_at", "passcode_attempts", ["began_at"], unique=False)


def downgrade():
    op.drop_table("passcode_attempts")
