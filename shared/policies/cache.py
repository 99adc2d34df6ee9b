"""Policies in the cache, so that a burst of joins reads the row once (contract 6; see shared.core.cache)."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select

from shared.core.cache import Cache
from shared.core.ids import is_id
from shared.core.lists import one_of
from shared.core.transaction import Transaction
from shared.meetings.models import Meeting
from shared.policies.models import Policy, policies

KIND = "policy"

_OF_MEETINGS = select(policies).where(one_of(policies.c.meeting_id, "meeting_ids"))


def get_policy(tx: Transaction, meeting: Meeting) -> Policy:
    """Return the policy of a meeting. Every meeting has one; if it cannot be read, nobody gets in (fail closed)."""
    known: Policy | None = tx.cache.get(KIND, meeting.id, meeting.policy_version)
    if known is not None:
        return known
    if meeting.id in tx.unsettled:
        return _read(tx, [meeting.id])[meeting.id]
    # Whoever else misses this version sees it committed, as whoever reads it does: what one reads is good for all.
    version = meeting.policy_version
    read: Policy = tx.cache.flights.run((KIND, meeting.id, version), lambda: _read_through(tx, meeting.id, version))
    return read


def _read_through(tx: Transaction, meeting_id: str, version: int) -> Policy:
    known: Policy | None = tx.cache.peek(KIND, meeting_id, version)  # of one who landed just before
    return known or _read(tx, [meeting_id])[meeting_id]


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
    return {**found, **_read(tx, unknown)} if unknown else found


def _read(tx: Transaction, meeting_ids: list[str]) -> dict[str, Policy]:
    found = {row.meeting_id: Policy.of(row) for row in tx.all(_OF_MEETINGS, {"meeting_ids": meeting_ids})}
    for policy in found.values():
        if policy.meeting_id not in tx.unsettled:
            tx.cache.put(KIND, policy.meeting_id, policy.version, policy)
    return found


def warm(cache: Cache, meeting_id: str) -> None:
    """Take a policy from L2 when this process has not seen the meeting yet; of many who want it one does. Call it
    outside of a transaction."""
    if is_id(meeting_id) and not cache.knows(KIND, meeting_id):
        cache.flights.run((KIND, meeting_id), lambda: _take_from_l2(cache, meeting_id))


def _take_from_l2(cache: Cache, meeting_id: str) -> None:
    if cache.knows(KIND, meeting_id):  # from one who landed just before
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
