"""Reading the audit trail."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select

from shared.audit.models import audit_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows. `actor_id` and `target_id` are participant ids or user ids; `until` is not included."""

    kind: str | None = None
    outcome: str | None = None
    actor_id: str | None = None
    target_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def trail(meeting_id: str, wanted: Filter, after_seq: int, limit: int) -> Select[Any]:
    """Return the query for rows of a meeting's trail behind `after_seq`, in order, at most `limit`."""
    table = audit_events.c
    query = select(audit_events).where(table.meeting_id == meeting_id, table.seq > after_seq)
    if wanted.kind is not None:
        query = query.where(table.kind == wanted.kind)
    if wanted.outcome is not None:
        query = query.where(table.outcome == wanted.outcome)
    if wanted.actor_id is not None:
        query = query.where(or_(table.actor_participant_id == wanted.actor_id, table.actor_user_id == wanted.actor_id))
    if wanted.target_id is not None:
        query = query.where(
            or_(table.target_participant_id == wanted.target_id, table.target_user_id == wanted.target_id)
        )
    if wanted.since is not None:
        query = query.where(table.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(table.at < wanted.until)
    return query.order_by(table.seq).limit(limit)
