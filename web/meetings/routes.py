"""Doors of meetings (contract 3)."""

from datetime import datetime
from typing import Any

from flask_smorest import Blueprint
from sqlalchemy import func

from shared.core import ledger, tombstones
from shared.core.errors import InsufficientPermission, ValidationFailed
from shared.core.streams import hosts_stream, meeting_stream, personal_stream
from shared.core.tombstones import EventsArchived
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings import service as meetings
from shared.meetings.errors import (
    InvalidMeetingState,
    MeetingAlreadyActive,
    MeetingEnded,
    MeetingNotActive,
    MeetingNotFound,
)
from shared.meetings.models import Meeting
from shared.meetings.models import meetings as table
from shared.meetings.service import MeetingWish
from shared.participants import permissions, queries, snapshot
from shared.participants.errors import NotInside, ParticipantExists
from shared.participants.membership import get_permitted, my_meetings
from shared.participants.models import JOINED, WAITING
from shared.policies.cache import get_policy
from shared.policies.remedies import refusal
from web.http.door import door
from web.http.pagination import cut, decode_cursor, encode_cursor, pagination
from web.http.reply import Reply
from web.meetings.schemas import (
    EndedView,
    EventsQuery,
    EventView,
    MeetingChange,
    MeetingRequest,
    MeetingsQuery,
    MeetingView,
    StartedView,
    StatusView,
)
from web.meetings.views import event_view, meeting_view
from web.participants.schemas import SnapshotView

blueprint = Blueprint("meetings", __name__, url_prefix="/api/v1/meetings", description="The life of a meeting")

_STATES = (MeetingNotFound, InsufficientPermission, MeetingEnded, InvalidMeetingState)


@door(
    blueprint,
    "POST",
    "",
    permission=permissions.MEETING_CREATE,
    who="user",
    takes=MeetingRequest(),
    gives=MeetingView(),
    status=201,
    limit="meetings",
    message="Meeting created.",
    refusals=(MeetingNotFound, InsufficientPermission, ParticipantExists),
)
def create_meeting(tx: Transaction, actor: Actor, **wanted: Any) -> dict[str, Any]:
    """Create a meeting; you become its host

    With `series_of` it belongs to the series of that meeting, which must be yours: who is banned from one meeting of a
    series is banned from all of them.
    """
    if wanted["series_of"] is not None:
        owned = get_permitted(tx, wanted["series_of"], actor, permissions.MEETING_UPDATE).meeting
        if owned.host_id != actor.user_id:  # bans spread over a series: who was made a host of one has no say in others
            raise refusal(InsufficientPermission, "series_of", "Only who made a meeting continues its series.")
    wanted["invitees"] = tuple(wanted["invitees"])
    return meeting_view(meetings.create(tx, actor, MeetingWish(**wanted)))


@door(
    blueprint,
    "GET",
    "",
    permission=permissions.MEETING_LIST,
    who="user",
    query=MeetingsQuery(),
    gives=MeetingView(),
    many=True,
)
def list_meetings(
    tx: Transaction,
    actor: Actor,
    limit: int,
    cursor: str | None,
    status: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
) -> Reply:
    """List the meetings you host, joined or are invited to, newest first"""
    before = decode_cursor(cursor, 1)[0] if cursor else None
    query = my_meetings(actor, status, before, limit + 1)
    begins = func.coalesce(table.c.scheduled_start, table.c.started_at, table.c.created_at)
    if from_ is not None:
        query = query.where(begins >= from_)
    if to is not None:
        query = query.where(begins < to)
    page, more = cut([Meeting.of(row) for row in tx.all(query)], limit)
    following = encode_cursor(page[-1].id) if more else None
    return Reply([meeting_view(m) for m in page], pagination=pagination(limit, following))


@door(
    blueprint,
    "GET",
    "/<meeting_id>",
    permission=permissions.MEETING_READ,
    gives=MeetingView(),
    refusals=(MeetingNotFound,),
)
def get_meeting(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Read a meeting"""
    return meeting_view(get_permitted(tx, meeting_id, actor, permissions.MEETING_READ).meeting)


@door(
    blueprint,
    "PATCH",
    "/<meeting_id>",
    permission=permissions.MEETING_UPDATE,
    takes=MeetingChange(),
    gives=MeetingView(),
    limit="meetings",
    message="Meeting changed.",
    refusals=_STATES,
)
def change_meeting(tx: Transaction, actor: Actor, meeting_id: str, **changes: Any) -> dict[str, Any]:
    """Change a meeting

    Only the host may. Of a running meeting, title and description can change.
    """
    get_permitted(tx, meeting_id, actor, permissions.MEETING_UPDATE)
    return meeting_view(meetings.change(tx, meeting_id, actor, changes))


@door(
    blueprint,
    "DELETE",
    "/<meeting_id>",
    permission=permissions.MEETING_CANCEL,
    gives=MeetingView(),
    limit="meetings",
    message="Meeting cancelled.",
    refusals=_STATES,
)
def cancel_meeting(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Cancel a scheduled meeting"""
    get_permitted(tx, meeting_id, actor, permissions.MEETING_CANCEL)
    return meeting_view(meetings.cancel(tx, meeting_id, actor))


@door(
    blueprint,
    "POST",
    "/<meeting_id>/start",
    permission=permissions.MEETING_START,
    gives=StartedView(),
    limit="meetings",
    message="Meeting started.",
    refusals=(*_STATES, MeetingAlreadyActive),
)
def start_meeting(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Let people in"""
    get_permitted(tx, meeting_id, actor, permissions.MEETING_START)
    started = meetings.start(tx, meeting_id, actor)
    return {"meeting_id": started.id, "started_by": started.started_by, "started_at": started.started_at}


@door(
    blueprint,
    "POST",
    "/<meeting_id>/end",
    permission=permissions.MEETING_END,
    gives=EndedView(),
    limit="meetings",
    message="Meeting ended.",
    refusals=(*_STATES, MeetingNotActive),
)
def end_meeting(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """End the meeting for everybody"""
    get_permitted(tx, meeting_id, actor, permissions.MEETING_END)
    over = meetings.end(tx, meeting_id, actor.user_id, actor.participant_id)
    return {
        "meeting_id": over.id,
        "ended_by": over.ended_by,
        "ended_at": over.ended_at,
        "duration_minutes": over.duration_minutes,
    }


@door(
    blueprint,
    "GET",
    "/<meeting_id>/status",
    permission=permissions.MEETING_READ,
    gives=StatusView(),
    refusals=(MeetingNotFound,),
)
def meeting_status(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """How does the meeting stand?"""
    membership = get_permitted(tx, meeting_id, actor, permissions.MEETING_READ)
    meeting = membership.meeting
    counts = queries.counts(tx, meeting_id)
    return {
        "meeting_id": meeting.id,
        "status": meeting.status,
        "is_active": meeting.is_running,
        "started_at": meeting.started_at,
        "ended_at": meeting.ended_at,
        "attendance_count": queries.attendance(tx, meeting_id),
        "active_participants": counts.get(JOINED, 0),
        "waiting_participants": counts.get(WAITING, 0),
        "is_recording": False,
        "is_locked": get_policy(tx, meeting).lock_meeting,
        "cursors": queries.cursors(tx, membership.me),
    }


@door(
    blueprint,
    "GET",
    "/<meeting_id>/events",
    permission=permissions.EVENTS_READ,
    query=EventsQuery(),
    gives=EventView(),
    many=True,
    refusals=(MeetingNotFound, NotInside, EventsArchived),
)
def meeting_events(tx: Transaction, actor: Actor, meeting_id: str, stream: str, after_seq: int, limit: int) -> Reply:
    """Read a stream of the ledger, in order

    `meeting` for everybody who is or was inside, from the time they were; `me` for your own; `hosts` for hosts and
    co-hosts. `next_cursor` is the `after_seq` of the next page. Of a meeting that is long over the events may have been
    archived: then what lies behind `archived_until` of the refusal can be read; the chat stays where it was.
    """
    membership = get_permitted(tx, meeting_id, actor, permissions.EVENTS_READ)
    me = membership.me
    keys = {"meeting": meeting_stream(meeting_id), "me": personal_stream(me.id), "hosts": hosts_stream(meeting_id)}
    if stream not in keys:
        raise ValidationFailed(details={"stream": ["Must be one of: meeting, me, hosts."]})
    if stream == "hosts":
        permissions.demand(me, permissions.EVENTS_READ_HOSTS)
    query = ledger.after(keys[stream], after_seq, limit + 1)
    if stream == "meeting":
        query = query.where(queries.was_there(me, ledger.events.c.seq))
    page, more = cut([ledger.Entry.of(row) for row in tx.all(query)], limit)
    if membership.meeting.ended_at is not None:
        tombstones.check_kept(tx.connection, keys[stream], after_seq)
    following = str(page[-1].seq) if more else None
    return Reply([event_view(entry) for entry in page], pagination=pagination(limit, following))


@door(
    blueprint,
    "GET",
    "/<meeting_id>/snapshot",
    permission=permissions.SNAPSHOT_READ,
    gives=SnapshotView(),
    consistent=True,
    refusals=(MeetingNotFound, NotInside),
)
def meeting_snapshot(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Read all that a client needs to start, or to start again after `resync`

    A snapshot and the events behind its `cursors` make a later snapshot.
    """
    taken = snapshot.take(tx, meeting_id, actor)
    return {
        "meeting": meeting_view(taken.meeting),
        "me": taken.me.public(),
        "participants": [p.public() for p in taken.participants],
        "policy": taken.policy,
        "breakout_rooms": taken.breakout_rooms,
        "polls": taken.polls,
        "cursors": taken.cursors,
        "epoch": taken.epoch,
    }
