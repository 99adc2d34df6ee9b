"""Policies in the cache, so that a burst of joins reads the row once (contract 6; see shared.core.cache)."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select

from shared.core.cache import Cache
from shared.core.lists import one_of
from shared.core.transaction import Transaction
from shared.meetings.models import Meeting
from shared.policies.models import Policy, policies

KIND = "policy"


_OF_MEETINGS = select(policies).where(one_of(policies.c.meeting_id, "meeting_ids"))


def get_policy(tx: Transaction, meeting: Meeting) -> Policy:
    """Return the policy of a meeting. Every meeting has one; if it cannot be read, nobody gets in (fail closed)."""
    return get_policies(tx, [meeting])[meeting.id]


def get_policies(tx: Transaction, meetings: Iterable[Meeting]) -> dict[str, Policy]:
    """Return the policies of meetings by their ids, with one query for those that are not known here."""
    found: dict[str, Policy] = {}
    unknown: list[str] = []
    for meeting in meetings:
        known: Policy | None = tx.cache.get(KIND, meeting.id, meeting.policy_version)
        if known is not None:
            found[meeting.id] = known
        else:
            unknown.append(meeting.id)
    if unknown:
        for row in tx.all(_OF_MEETINGS, {"meeting_ids": unknown}):
            policy = found[row.meeting_id] = Policy.of(row)
            tx.cache.put(KIND, policy.meeting_id, policy.version, policy)
    return found


def warm(cache: Cache, meeting_id: str) -> None:
    """Take a policy from L2 when this process has not seen the meeting yet. Call it outside of a transaction."""
    if cache.knows(KIND, meeting_id):
        return
    found = cache.fetch(KIND, meeting_id)
    if found is None:
        return
    try:
        policy = _decode(found)
    except (TypeError, ValueError, KeyError):
        return  # written by another release; the database is read instead
    if policy.meeting_id == meeting_id:
        cache.put(KIND, meeting_id, policy.version, policy)


def prewarm(tx: Transaction, meeting_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Read the policies of many meetings in one query, as L2 keeps them, by meeting id."""
    rows = tx.all(_OF_MEETINGS, {"meeting_ids": meeting_ids})
    return {row.meeting_id: asdict(Policy.of(row)) for row in rows}


def _decode(found: dict[str, Any]) -> Policy:
    return Policy(**{**found, "updated_at": datetime.fromisoformat(found["updated_at"])})
