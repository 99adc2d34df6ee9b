"""The door of the audit trail (contract 6)."""

from datetime import datetime
from typing import Any

from flask_smorest import Blueprint

from shared.audit.acts import shown
from shared.audit.queries import Filter, trail
from shared.core.errors import InsufficientPermission
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import MeetingNotFound
from shared.participants.membership import get_permitted
from shared.participants.permissions import AUDIT_READ
from web.audit.schemas import AuditView, TrailQuery
from web.http.door import door
from web.http.pagination import cut, decode_cursor, encode_cursor, number_in, pagination
from web.http.reply import Reply

blueprint = Blueprint(
    "audit", __name__, url_prefix="/api/v1/meetings/<meeting_id>/security", description="Who did what"
)


@door(
    blueprint,
    "GET",
    "/events",
    permission=AUDIT_READ,
    query=TrailQuery(),
    gives=AuditView(),
    many=True,
    refusals=(MeetingNotFound, InsufficientPermission),
)
def read_trail(
    tx: Transaction,
    actor: Actor,
    meeting_id: str,
    limit: int,
    cursor: str | None,
    from_: datetime | None = None,
    to: datetime | None = None,
    **wanted: Any,
) -> Reply:
    """Read the audit trail of a meeting, in order

    A row for each act of a host or co-host on somebody else or on the rules, and for what was refused to somebody who
    may not. `kind` is the permission that was used or missed (finer for admitting, denying, banning, inviting, and the
    tokens of guests). The same refusal of the same person is told once a minute, then with the number of those
    `repeated` since.

    The rows are a chain: `hash` is the SHA-256 of the row as JSON without `hash` and with `meeting_id`, keys sorted,
    no white space, in UTF-8; `previous_hash` is that of the row before.
    """
    get_permitted(tx, meeting_id, actor, AUDIT_READ)
    after = number_in(decode_cursor(cursor, 1)[0]) if cursor else 0
    query = trail(meeting_id, Filter(since=from_, until=to, **wanted), after, limit + 1)
    page, more = cut(tx.all(query), limit)
    following = encode_cursor(page[-1].seq) if more else None
    return Reply([{**shown(row), "hash": row.hash} for row in page], pagination=pagination(limit, following))
