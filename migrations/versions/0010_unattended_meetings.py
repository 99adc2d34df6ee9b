"""What a meeting does without a host, and a waiting room that nobody answers

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

RULES = {
    "host_handover": (sa.String(length=7), "wait"),
    "host_handover_minutes": (sa.Integer(), "5"),
    "waiting_room_timeout_minutes": (sa.Integer(), "0"),
    "waiting_room_escalation": (sa.String(length=7), "notify"),
}


def upgrade():
    with op.batch_alter_table("policies") as table:
        for name, (kind, default) in RULES.items():
            table.add_column(sa.Column(name, kind, nullable=False, server_default=default))
        table.create_check_constraint(op.f("ck_policies_handover"), "host_handover IN ('wait', 'promote', 'end')")
        table.create_check_constraint(
            op.f("ck_policies_escalation"), "waiting_room_escalation IN ('notify', 'promote', 'close')"
        )
    with op.batch_alter_table("meeting_participants") as table:
        table.add_column(sa.Column("escalated_at", sa.DateTime(timezone=True)))


def downgrade():
    with op.batch_alter_table("meeting_participants") as table:
        table.drop_column("escalated_at")
    with op.batch_alter_table("policies") as table:
        table.drop_constraint(op.f("ck_policies_escalation"), type_="check")
        table.drop_constraint(op.f("ck_policies_handover"), type_="check")
        for name in reversed(RULES):
            table.drop_column(name)
