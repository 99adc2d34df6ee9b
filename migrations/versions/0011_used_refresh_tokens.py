"""Refresh tokens that were used long ago are found and forgotten

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index("ix_refresh_tokens_used_at", "refresh_tokens", ["used_at"], unique=False)


def downgrade():
    op.drop_index("ix_refresh_tokens_used_at", table_name="refresh_tokens")
