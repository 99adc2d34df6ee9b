"""First tables, and the installation's first epoch

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from ulid import ULID

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "events",
        sa.Column("stream", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("actor_id", sa.String(length=26), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("effect", sa.String(length=80), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("stream", "seq", name=op.f("pk_events")),
    )
    op.create_index("ix_events_meeting_id_created_at", "events", ["meeting_id", "created_at"], unique=False)

    op.create_table(
        "idempotency_keys",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)

    op.create_table(
        "installation",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("epoch", sa.String(length=26), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("lane", sa.String(length=20), nullable=False),
        sa.Column("payload", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'running', 'done', 'dead')", name=op.f("ck_outbox_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_state_next_at", "outbox", ["state", "next_at"], unique=False)

    op.create_table(
        "processes",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processes")),
    )
    op.create_index("ix_processes_lease_until", "processes", ["lease_until"], unique=False)

    op.create_table(
        "streams",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_streams")),
    )
    op.create_index("ix_streams_meeting_id", "streams", ["meeting_id"], unique=False)

    op.create_table(
        "users",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_email_lower")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "vitals",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_vitals")),
    )
    op.create_table(
        "ws_tickets",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("participant_id", sa.String(length=26), nullable=False),
        sa.Column("session_id", sa.String(length=26), nullable=True),
        sa.Column("token_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_ws_tickets")),
    )
    op.create_index("ix_ws_tickets_expires_at", "ws_tickets", ["expires_at"], unique=False)

    op.create_table(
        "connections",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("process_id", sa.String(length=26), nullable=False),
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("participant_id", sa.String(length=26), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["process_id"], ["processes.id"], name=op.f("fk_connections_process_id_processes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
    )
    op.create_index("ix_connections_participant_id", "connections", ["participant_id"], unique=False)
    op.create_index("ix_connections_process_id", "connections", ["process_id"], unique=False)

    op.create_table(
        "meetings",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("host_id", sa.String(length=26), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("scheduled_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scheduled_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_by", sa.String(length=26), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(length=26), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seats_taken", sa.Integer(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(status = 'completed') = (ended_at IS NOT NULL)", name=op.f("ck_meetings_ended")),
        sa.CheckConstraint(
            "(status = 'scheduled' OR status = 'cancelled') = (started_at IS NULL)", name=op.f("ck_meetings_started")
        ),
        sa.CheckConstraint(
            "status IN ('scheduled', 'in_progress', 'completed', 'cancelled')", name=op.f("ck_meetings_status")
        ),
        sa.CheckConstraint("seats_taken >= 0", name=op.f("ck_meetings_seats")),
        sa.ForeignKeyConstraint(["host_id"], ["users.id"], name=op.f("fk_meetings_host_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meetings")),
    )
    op.create_index("ix_meetings_host_id", "meetings", ["host_id"], unique=False)
    op.create_index("ix_meetings_status_deadline_at", "meetings", ["status", "deadline_at"], unique=False)
    op.create_index("ix_meetings_status_started_at", "meetings", ["status", "started_at"], unique=False)

    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("user_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_why", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], unique=False)
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], unique=False)

    op.create_table(
        "invitations",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], name=op.f("fk_invitations_meeting_id_meetings")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("meeting_id", "email", name=op.f("uq_invitations_meeting_id_email")),
    )
    op.create_index("ix_invitations_email", "invitations", ["email"], unique=False)

    op.create_table(
        "meeting_participants",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("user_id", sa.String(length=26), nullable=True),
        sa.Column("user_name", sa.String(length=100), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("is_banned", sa.Boolean(), nullable=False),
        sa.Column("was_admitted", sa.Boolean(), nullable=False),
        sa.Column("is_muted", sa.Boolean(), nullable=False),
        sa.Column("is_video_enabled", sa.Boolean(), nullable=False),
        sa.Column("is_screen_sharing", sa.Boolean(), nullable=False),
        sa.Column("is_hand_raised", sa.Boolean(), nullable=False),
        sa.Column("hand_raised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("device_type", sa.String(length=40), nullable=True),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("presence", sa.String(length=12), nullable=True),
        sa.Column("disconnected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("media_identity", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "NOT (is_banned AND status IN ('joined', 'waiting'))", name=op.f("ck_meeting_participants_banned_is_out")
        ),
        sa.CheckConstraint("role IN ('host', 'co-host', 'attendee')", name=op.f("ck_meeting_participants_role")),
        sa.CheckConstraint(
            "status IN ('invited', 'waiting', 'joined', 'left', 'removed', 'denied')",
            name=op.f("ck_meeting_participants_status"),
        ),
        sa.ForeignKeyConstraint(
            ["meeting_id"], ["meetings.id"], name=op.f("fk_meeting_participants_meeting_id_meetings")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_meeting_participants_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meeting_participants")),
        sa.UniqueConstraint("meeting_id", "user_id", name=op.f("uq_meeting_participants_meeting_id_user_id")),
    )
    op.create_index(
        "ix_meeting_participants_meeting_id_status", "meeting_participants", ["meeting_id", "status"], unique=False
    )
    op.create_index(
        "ix_meeting_participants_presence", "meeting_participants", ["presence", "disconnected_at"], unique=False
    )
    op.create_index("ix_meeting_participants_user_id", "meeting_participants", ["user_id"], unique=False)

    op.create_table(
        "policies",
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("passcode_hash", sa.String(length=100), nullable=True),
        sa.Column("require_waiting_room", sa.Boolean(), nullable=False),
        sa.Column("require_password", sa.Boolean(), nullable=False),
        sa.Column("allow_anonymous_join", sa.Boolean(), nullable=False),
        sa.Column("max_participants", sa.Integer(), nullable=False),
        sa.Column("allowed_domains", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("blocked_users", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("recording_permissions", sa.String(length=4), nullable=False),
        sa.Column("screen_share_permissions", sa.String(length=4), nullable=False),
        sa.Column("chat_permissions", sa.String(length=4), nullable=False),
        sa.Column("mute_on_entry", sa.Boolean(), nullable=False),
        sa.Column("disable_camera", sa.Boolean(), nullable=False),
        sa.Column("lock_meeting", sa.Boolean(), nullable=False),
        sa.Column("enable_breakout_rooms", sa.Boolean(), nullable=False),
        sa.Column("enable_polls", sa.Boolean(), nullable=False),
        sa.Column("enable_whiteboard", sa.Boolean(), nullable=False),
        sa.Column("enable_file_sharing", sa.Boolean(), nullable=False),
        sa.Column("enable_reactions", sa.Boolean(), nullable=False),
        sa.Column("enable_hand_raise", sa.Boolean(), nullable=False),
        sa.Column("enable_e2e_encryption", sa.Boolean(), nullable=False),
        sa.Column("idle_timeout_minutes", sa.Integer(), nullable=False),
        sa.Column("meeting_duration_minutes", sa.Integer(), nullable=False),
        sa.Column("join_approval_mode", sa.String(length=20), nullable=False),
        sa.Column("custom_settings", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.CheckConstraint(
            "join_approval_mode IN ('automatic', 'manual', 'domain_restricted')", name=op.f("ck_policies_approval")
        ),
        sa.CheckConstraint("max_participants BETWEEN 1 AND 10000", name=op.f("ck_policies_max_participants")),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], name=op.f("fk_policies_meeting_id_meetings")),
        sa.PrimaryKeyConstraint("meeting_id", name=op.f("pk_policies")),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("session_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_refresh_tokens_session_id_sessions"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_tokens")),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"], unique=False)

    op.create_table(
        "chat_messages",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("sender_id", sa.String(length=26), nullable=False),
        sa.Column("sender_name", sa.String(length=100), nullable=False),
        sa.Column("recipient_id", sa.String(length=26), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("message_type", sa.String(length=8), nullable=False),
        sa.Column("reply_to", sa.String(length=26), nullable=True),
        sa.Column("file", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("recipient_seq", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("message_type IN ('text', 'emoji', 'file', 'link')", name=op.f("ck_chat_messages_type")),
        sa.CheckConstraint("(content IS NULL) = (deleted_at IS NOT NULL)", name=op.f("ck_chat_messages_tombstone")),
        sa.CheckConstraint("(recipient_id IS NULL) = (recipient_seq IS NULL)", name=op.f("ck_chat_messages_private")),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], name=op.f("fk_chat_messages_meeting_id_meetings")),
        sa.ForeignKeyConstraint(
            ["recipient_id"],
            ["meeting_participants.id"],
            name=op.f("fk_chat_messages_recipient_id_meeting_participants"),
        ),
        sa.ForeignKeyConstraint(
            ["sender_id"], ["meeting_participants.id"], name=op.f("fk_chat_messages_sender_id_meeting_participants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_messages")),
    )
    op.create_index(
        "ix_chat_messages_meeting_id_position", "chat_messages", ["meeting_id", "position", "id"], unique=False
    )

    op.create_table(
        "stays",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("participant_id", sa.String(length=26), nullable=False),
        sa.Column("meeting_id", sa.String(length=26), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entered_seq", sa.BigInteger(), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("left_seq", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("left_at IS NULL OR left_at >= entered_at", name=op.f("ck_stays_order")),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], name=op.f("fk_stays_meeting_id_meetings")),
        sa.ForeignKeyConstraint(
            ["participant_id"], ["meeting_participants.id"], name=op.f("fk_stays_participant_id_meeting_participants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stays")),
    )
    op.create_index("ix_stays_meeting_id", "stays", ["meeting_id"], unique=False)
    op.create_index("ix_stays_participant_id", "stays", ["participant_id"], unique=False)
    op.create_index(
        "uq_stays_open",
        "stays",
        ["participant_id"],
        unique=True,
        sqlite_where=sa.text("left_at IS NULL"),
        postgresql_where=sa.text("left_at IS NULL"),
    )

    op.create_table(
        "chat_reactions",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("message_id", sa.String(length=26), nullable=False),
        sa.Column("participant_id", sa.String(length=26), nullable=False),
        sa.Column("emoji", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["chat_messages.id"], name=op.f("fk_chat_reactions_message_id_chat_messages")
        ),
        sa.ForeignKeyConstraint(
            ["participant_id"],
            ["meeting_participants.id"],
            name=op.f("fk_chat_reactions_participant_id_meeting_participants"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_reactions")),
        sa.UniqueConstraint(
            "message_id", "participant_id", "emoji", name=op.f("uq_chat_reactions_message_id_participant_id_emoji")
        ),
    )
    installation = sa.table("installation", sa.column("id"), sa.column("epoch"))
    op.execute(installation.insert().values(id=str(ULID()), epoch=str(ULID())))


def downgrade():
    op.drop_table("chat_reactions")

    op.drop_table("stays")

    op.drop_table("chat_messages")

    op.drop_table("refresh_tokens")
    op.drop_table("policies")

    op.drop_table("meeting_participants")

    op.drop_table("invitations")

    op.drop_table("sessions")

    op.drop_table("meetings")

    op.drop_table("connections")

    op.drop_table("ws_tickets")
    op.drop_table("vitals")
    op.drop_table("users")

    op.drop_table("streams")

    op.drop_table("processes")

    op.drop_table("outbox")
    op.drop_table("leases")
    op.drop_table("installation")

    op.drop_table("idempotency_keys")

    op.drop_table("events")
