"""What hosts and co-hosts do to many at once (contract 4): accepted here, done by a worker in chunks.

A chunk is one transaction: set-based statements, one event, and how far the job came. What may be done, and by whom, is
asked anew for each chunk, and as in `moderation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, func, null, select, update

from shared.core.errors import DomainError, InsufficientPermission
from shared.core.lists import one_of
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.jobs import service as jobs
from shared.jobs.models import JobState
from shared.meetings.models import IN_PROGRESS
from shared.meetings.queries import lock_meeting
from shared.meetings.service import check_running
from shared.participants import permissions
from shared.participants.errors import ParticipantNotFound
from shared.participants.events import ParticipantsUpdated
from shared.participants.jobs import UpdateParticipants
from shared.participants.media import align
from shared.participants.membership import Membership, get_permitted
from shared.participants.models import HOST, JOINED, Participant, participants
from shared.participants.moderation import FLAGS, RIGHTS, TAKES_AWAY, taken_away
from shared.participants.moderation_events import ManyChangesOrdered
from shared.participants.permissions import may
from shared.policies.remedies import refusal

CHUNK = 200  # whose event still fits a frame of 64 KiB
REPORTED = 500  # refusals that are told one by one, in a frame too; all are counted
BATCH, MUTE_ALL, LOWER_HANDS = "participants.batch", "participants.mute_all", "participants.lower_hands"


def update_each(tx: Transaction, meeting_id: str, actor: Actor, updates: Sequence[Mapping[str, Any]]) -> JobState:
    """Accept changes of named participants; `updates` are `{participant_id, …flags}`. What cannot be done is reported
    person by person in the job's result. Raises what `moderation.change` raises about meeting and actor.
    """
    me = _moderator(tx, meeting_id, actor).me
    return _accept(tx, me, actor, BATCH, {"updates": list(updates)}, len(updates))


def update_all(
    tx: Transaction, meeting_id: str, actor: Actor, filter_: Mapping[str, str], changes: Mapping[str, bool]
) -> JobState:
    """Accept one change of everybody inside who fits `{role?, status?}` when the job gets to them.

    Raises as `update_each`, and InsufficientPermission for what can be done to nobody, such as unmuting.
    """
    me = _moderator(tx, meeting_id, actor).me
    wrong = _not_taking_away(changes)
    if wrong:
        raise refusal(InsufficientPermission, "themselves", "This only the person can do.", fields=wrong)
    wish = {"filter": dict(filter_), "set": dict(changes)}
    return _accept(tx, me, actor, BATCH, wish, _count(tx, meeting_id, wish))


def mute_all(tx: Transaction, meeting_id: str, actor: Actor) -> JobState:
    """Accept to mute everybody inside but the actor. Raises as `update_each`."""
    me = _moderator(tx, meeting_id, actor).me
    wish = {"filter": {}, "set": {"is_muted": True}, "but": me.id}
    return _accept(tx, me, actor, MUTE_ALL, wish, _count(tx, meeting_id, wish))


def lower_hands(tx: Transaction, meeting_id: str, actor: Actor) -> JobState:
    """Accept to lower every hand. Raises as `update_each`."""
    me = _moderator(tx, meeting_id, actor).me
    wish = {"filter": {}, "set": {"is_hand_raised": False}, "with_hands_up": True}
    return _accept(tx, me, actor, LOWER_HANDS, wish, _count(tx, meeting_id, wish))


def _moderator(tx: Transaction, meeting_id: str, actor: Actor) -> Membership:
    membership = get_permitted(tx, meeting_id, actor, permissions.PARTICIPANTS_MODERATE)
    check_running(membership.meeting)
    return membership


def _accept(tx: Transaction, me: Participant, actor: Actor, kind: str, wish: Mapping[str, Any], total: int) -> JobState:
    """Emits ManyChangesOrdered, for the audit trail."""
    job = jobs.create(
        tx,
        kind,
        meeting_id=me.meeting_id,
        participant_id=me.id,
        actor=actor,
        wish=wish,
        total=total,
        message=lambda id_: UpdateParticipants(job_id=id_),
    )
    tx.emit(ManyChangesOrdered(meeting_id=me.meeting_id, by=me, job_id=job.id, kind=kind, total=total, wish=wish))
    return job


def _fitting(meeting_id: str, wish: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Return which participants a filter means. Flags are those of people inside: other states match nobody."""
    wanted = wish["filter"]
    conditions = [participants.c.meeting_id == meeting_id, participants.c.status == JOINED]
    if "role" in wanted:
        conditions.append(participants.c.role == wanted["role"])
    if "status" in wanted:
        conditions.append(participants.c.status == wanted["status"])
    if "but" in wish:
        conditions.append(participants.c.id != wish["but"])
    if wish.get("with_hands_up"):
        conditions.append(participants.c.is_hand_raised)
    return conditions


def _count(tx: Transaction, meeting_id: str, wish: Mapping[str, Any]) -> int:
    return int(tx.scalar(select(func.count()).select_from(participants).where(*_fitting(meeting_id, wish))))


# --- the work


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Whom it is about, in order, with what is to be set; where the next chunk begins, None when this is the last."""

    wanted: Sequence[tuple[str, Mapping[str, bool]]]
    people: dict[str, Participant]
    following: str | None


def work_chunk(tx: Transaction, job_id: str) -> bool:
    """Do the next chunk of a job; return whether there is more. Does nothing when the job is over.

    Locks the job, the meeting, and the participants concerned in the order of their ids. Emits one ParticipantsUpdated
    when something changed, and JobAdvanced. A job whose actor has no right any more, or whose meeting is over, fails.
    """
    job = jobs.take(tx, job_id)
    if job is None:
        return False
    meeting = lock_meeting(tx, job.meeting_id)
    try:
        me = _moderator(tx, job.meeting_id, job.actor).me
    except DomainError as refused:
        error = {"code": refused.code, "message": refused.text}
        jobs.fail(tx, job, error, tell=meeting.status == IN_PROGRESS)  # behind the end nothing is told
        return False
    chunk = _read_updates(tx, job) if "updates" in job.wish else _read_fitting(tx, job)
    refused_here, granted = _judge(me, chunk)
    changed = _store(tx, granted)
    if changed:
        tx.emit(ParticipantsUpdated(meeting_id=job.meeting_id, actor_id=job.user_id, changes=changed))
    for id_ in changed:
        align(tx, chunk.people[id_])
    jobs.advance(
        tx,
        job,
        done=job.done + len(chunk.wanted),
        position=chunk.following or job.position,
        result=_result(job.result, len(changed), len(granted) - len(changed), refused_here),
        is_last=chunk.following is None,
    )
    return chunk.following is not None


# Nobody here looks at these; to make times of them, for each person, was a tenth of the work.
_UNREAD = frozenset({"joined_at", "left_at", "waiting_since", "disconnected_at", "created_at"})
_PEOPLE = (
    select(*(null().label(name) if name in _UNREAD else participants.c[name] for name in Participant.__slots__))
    .order_by(participants.c.id)
    .with_for_update(key_share=True)
)
_NAMED = _PEOPLE.where(participants.c.meeting_id == bindparam("meeting_id"), one_of(participants.c.id, "ids"))


def _read_updates(tx: Transaction, job: JobState) -> _Chunk:
    first = int(job.position or 0)
    part = job.wish["updates"][first : first + CHUNK]
    wanted = [(each["participant_id"], {k: v for k, v in each.items() if k != "participant_id"}) for each in part]
    ids = [id_ for id_, _ in wanted]
    people = _by_id(tx.all(_NAMED, {"meeting_id": job.meeting_id, "ids": ids}))
    last = first + len(part)
    return _Chunk(wanted, people, str(last) if last < len(job.wish["updates"]) else None)


def _read_fitting(tx: Transaction, job: JobState) -> _Chunk:
    behind = participants.c.id > job.position
    people = _by_id(tx.all(_PEOPLE.where(*_fitting(job.meeting_id, job.wish), behind).limit(CHUNK + 1)))
    ids = list(people)[:CHUNK]
    return _Chunk([(id_, job.wish["set"]) for id_ in ids], people, ids[-1] if len(people) > CHUNK else None)


def _by_id(rows: Sequence[Row[Any]]) -> dict[str, Participant]:
    people = (Participant(*tuple(row)) for row in rows)
    return {person.id: person for person in people}


def _judge(me: Participant, chunk: _Chunk) -> tuple[list[dict[str, str]], dict[str, dict[str, Any]]]:
    """Return what is refused, person by person, and what is to be written of the others."""
    refused: list[dict[str, str]] = []
    granted: dict[str, dict[str, Any]] = {}
    for id_, changes in chunk.wanted:
        found = chunk.people.get(id_)
        why = _refusal_of(me, found, changes)
        if why is not None or found is None:
            refused.append({"participant_id": id_, "code": (why or ParticipantNotFound).code})
        else:
            granted[id_] = _values(found, changes)
    return refused, granted


def _refusal_of(me: Participant, target: Participant | None, changes: Mapping[str, bool]) -> type[DomainError] | None:
    if target is None or not target.is_inside:
        return ParticipantNotFound
    if target.role == HOST and not may(me, permissions.PARTICIPANTS_MODERATE_HOST):
        return InsufficientPermission
    if (
        target.id == me.id
        and not changes.keys().isdisjoint(RIGHTS)
        and not may(me, permissions.PARTICIPANTS_RESTORE_SELF)
    ):
        return InsufficientPermission
    return InsufficientPermission if _not_taking_away(changes) else None


def _not_taking_away(changes: Mapping[str, bool]) -> list[str]:
    return [name for name in FLAGS if name in changes and changes[name] is not TAKES_AWAY[name]]


def _values(person: Participant, changes: Mapping[str, bool]) -> dict[str, Any]:
    """Return what is to be written, without what is so already."""
    values: dict[str, Any] = {**taken_away(person, changes), **changes}
    if "is_hand_raised" in values:
        values["hand_raised_at"] = None
    return {name: value for name, value in values.items() if getattr(person, name) != value}


_THESE = update(participants).where(one_of(participants.c.id, "ids"))


def _store(tx: Transaction, granted: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Write what changes, with one statement for all who get the same; return it by participant, in order."""
    changes = {id_: values for id_, values in granted.items() if values}
    alike: dict[tuple[tuple[str, Any], ...], list[str]] = {}
    for id_, values in changes.items():
        alike.setdefault(tuple(sorted(values.items())), []).append(id_)
    for same, ids in alike.items():
        tx.execute(_THESE, {"ids": ids, **dict(same)})
    return changes


def _result(
    before: Mapping[str, Any], updated: int, unchanged: int, refused: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    return {
        "updated": before.get("updated", 0) + updated,
        "unchanged": before.get("unchanged", 0) + unchanged,
        "refused_count": before.get("refused_count", 0) + len(refused),
        "refused": [*before.get("refused", ()), *refused][:REPORTED],
    }
