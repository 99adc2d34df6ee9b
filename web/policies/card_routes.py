"""The door that anybody may look through: the join page's card (contract 2)."""

from typing import Any

from flask_smorest import Blueprint

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import MeetingNotFound
from shared.participants.permissions import MEETING_CARD
from shared.policies import card
from web.http.door import door
from web.policies.schemas import CardView

blueprint = Blueprint(
    "card", __name__, url_prefix="/api/v1/meetings/<meeting_id>", description="A meeting seen from outside"
)


@door(
    blueprint,
    "GET",
    "/card",
    permission=MEETING_CARD,
    who="anyone",
    gives=CardView(),
    limit="card",
    guarded=True,
    refusals=(MeetingNotFound,),
)
def read_card(tx: Transaction, _actor: Actor | None, meeting_id: str) -> Any:
    """What a join page shows: a meeting's title and status, and what is needed to enter

    For anybody who knows the meeting's id, which is a secret of 80 random bits. A stranger learns what stands here and
    what `join` answers, and nothing else: no addresses, no people, no numbers, and of the allowed domains only that
    there are some. That a meeting is over or was cancelled is told by its `status` alone. An id that names no meeting,
    and one that never could, are answered alike; who tries many of them is answered 429.
    """
    return card.card(tx, meeting_id)
