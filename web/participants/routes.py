"""Doors of participants (contract 4), and the ticket for the WebSocket."""

from collections.abc import Sequence
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from shared.core.batching import NotTogether
from shared.core.errors import DomainError, ValidationFailed
from shared.core.metrics import JOINS
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import crowd, flags, leaving, permissions, queries, service, tickets
from shared.participants.crowd import Asking
from shared.participants.errors import NotInside, ParticipantNotFound
from shared.participants.membership import get_permitted
from shared.participants.models import STATUSES, Participant
from shared.participants.service import Admission, JoinWish
from shared.policies import errors as policy_errors
from web.http import tokens
from web.http.actor import bearer
from web.http.door import door
from web.http.limits import client
from web.http.pagination import cut, decode_cursor, encode_cursor, pagination
from web.http.reply import Reply
from web.http.runtime import current_runtime
from web.http.together import Asked
from web.participants.schemas import (
    FlagsRequest,
    JoinRequest,
    JoinView,
    LeaveView,
    ParticipantsQuery,
    ParticipantView,
    TicketView,
)

blueprint = Blueprint(
    "participants", __name__, url_prefix="/api/v1/meetings/<meeting_id>", description="Who is in a meeting"
)

_OUTCOMES = {200: "admitted", 202: "waiting", 400: "refused", 403: "refused", 404: "refused", 410: "refused"}
_STATES = (MeetingNotFound, MeetingNotActive, MeetingEnded, InvalidMeetingState)


def _join_together(
    tx: Transaction, asked: Sequence[Asked], *, waits: bool
) -> Sequence[Reply | DomainError | NotTogether]:
    # Of accounts no address is counted.
    asking = [Asking(one.path["meeting_id"], one.actor, _wish(one.wanted, "")) for one in asked]
    return [_reply(one) if isinstance(one, Admission) else one for one in crowd.join_all(tx, asking, waits=waits)]


@door(
    blueprint,
    "POST",
    "/join",
    permission=permissions.MEETING_JOIN,
    who="anyone",
    takes=JoinRequest(),
    gives=JoinView(),
    together=_join_together,
    guarded=True,
    message="You are in.",
    also={202: "`WAITING_ROOM_REQUIRED`: a host has to admit you."},
    refusals=(
        *_STATES,
        policy_errors.UserBlocked,
        policy_errors.AnonymousNotAllowed,
        policy_errors.DomainNotAllowed,
        policy_errors.PasscodeRequired,
        policy_errors.PasscodeInvalid,
        policy_errors.MeetingLocked,
        policy_errors.MaxParticipantsReached,
    ),
)
def join(tx: Transaction, actor: Actor | None, meeting_id: str, **wanted: Any) -> Reply:
    """Enter a meeting, or its waiting room

    Without a token you enter as a guest, where the policy allows it, and get a `guest_token` for this meeting.
    Entering again is the same participant.

    Refusals come in this order, and none tells of what stands behind it: the meeting exists, it runs, you are not
    blocked, need no account, your address is of an allowed domain, your passcode is right, the meeting is not locked
    and not full. So a stranger who knows the id, a secret of 80 random bits, learns how the meeting stands; who does
    not, learns nothing: what never existed and what is no id are answered alike, and many of them with 429. After ten
    wrong passcodes in a meeting within 15 minutes no further one is looked at, which is answered 429 too. Counted are
    an account, or an address (of IPv6 a /64) without one.
    """
    return _reply(service.join(tx, meeting_id, actor, _wish(wanted, client())))


def _wish(wanted: dict[str, Any], address: str) -> JoinWish:
    given = {name: value for name, value in wanted.items() if value is not None and name != "connection_id"}
    return JoinWish(address=address, **given)


def _reply(admission: Admission) -> Reply:
    person = admission.participant
    token = {"guest_token": _guest_token(person)} if admission.is_new_guest else {}
    if admission.is_waiting:
        data = {
            "participant_id": person.id,
            "meeting_id": person.meeting_id,
            "status": person.status,
            "position": admission.position,
            **token,
        }
        return Reply(data, status=202, code="WAITING_ROOM_REQUIRED", message="A host has to admit you; please wait.")
    return Reply({**person.public(), "meeting_id": person.meeting_id, **token})


@blueprint.after_request
def _count_join(response: Response) -> Response:
    """Count what became of a join, not what was answered once before, could not be read, or failed."""
    if request.endpoint == "participants.join" and "Idempotency-Replayed" not in response.headers:
        outcome = _OUTCOMES.get(response.status_code)
        if outcome is not None:
            JOINS.labels(outcome).inc()
    return response


def _guest_token(person: Participant) -> str:
    return tokens.sign("guest", person.id, person.meeting_id, current_runtime().settings.guest_token_ttl)


@door(
    blueprint,
    "POST",
    "/leave",
    permission=permissions.MEETING_LEAVE,
    gives=LeaveView(),
    message="You have left.",
    refusals=(*_STATES, ParticipantNotFound),
)
def leave(tx: Transaction, actor: Actor, meeting_id: str) -> Any:
    """Leave the meeting, or its waiting room"""
    return leaving.leave(tx, meeting_id, actor)


@door(
    blueprint,
    "GET",
    "/participants",
    permission=permissions.PARTICIPANTS_LIST,
    query=ParticipantsQuery(),
    gives=ParticipantView(),
    many=True,
    refusals=(MeetingNotFound, NotInside),
)
def list_participants(
    tx: Transaction, actor: Actor, meeting_id: str, limit: int, cursor: str | None, status: str | None = None
) -> Reply:
    """List participants

    Attendees see who is or was inside (`joined`, `left`); hosts and co-hosts see every state.
    """
    me = get_permitted(tx, meeting_id, actor, permissions.PARTICIPANTS_LIST).me
    wanted = status.split(",") if status else None
    if wanted and not set(wanted) <= set(STATUSES):
        raise ValidationFailed(details={"status": [f"Must be one of: {', '.join(STATUSES)}."]})
    after = decode_cursor(cursor, 1)[0] if cursor else ""
    rows = tx.all(queries.roster(me, wanted, after, limit + 1))
    page, more = cut([Participant.of(row) for row in rows], limit)
    following = encode_cursor(page[-1].id) if more else None
    return Reply([p.public() for p in page], pagination=pagination(limit, following))


@door(
    blueprint,
    "PUT",
    "/participants/status",
    permission=permissions.PARTICIPANTS_UPDATE_SELF,
    takes=FlagsRequest(),
    gives=ParticipantView(),
    limit="status",
    message="Changed.",
    refusals=(*_STATES, NotInside, policy_errors.ScreenShareDisabled, policy_errors.HandRaiseDisabled),
)
def set_status(tx: Transaction, actor: Actor, meeting_id: str, **wanted: bool) -> dict[str, Any]:
    """Set your own microphone, camera, screen and hand flags"""
    return flags.set_my_flags(tx, meeting_id, actor, flags.Flags(**wanted)).participant.public()


@door(
    blueprint,
    "GET",
    "/hands",
    permission=permissions.PARTICIPANTS_LIST,
    gives=ParticipantView(),
    many=True,
    refusals=(MeetingNotFound, NotInside),
)
def list_hands(tx: Transaction, actor: Actor, meeting_id: str) -> Reply:
    """List raised hands, in the order they went up"""
    get_permitted(tx, meeting_id, actor, permissions.PARTICIPANTS_LIST)
    raised = queries.hands(tx, meeting_id)
    return Reply([p.public() for p in raised], pagination=pagination(len(raised), None))


@door(
    blueprint,
    "POST",
    "/ws-ticket",
    permission=permissions.MEETING_LISTEN,
    gives=TicketView(),
    status=201,
    message="Open the WebSocket now.",
    refusals=(*_STATES, NotInside),
)
def ws_ticket(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Get a ticket with which a browser opens the WebSocket

    For people: API keys open no WebSocket.
    """
    ticket = tickets.issue(tx, meeting_id, actor, bearer("access", "guest").expires_at)
    return {"ticket": ticket, "expires_in": tickets.TICKET_SECONDS}
