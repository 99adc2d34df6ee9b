"""What the doors of signals take and give."""

from marshmallow import fields

from shared.signals.service import REACTION_TYPES
from web.http.schema import Choice, Id, Schema


class ReactionRequest(Schema):
    """A reaction that everybody inside sees for a moment."""

    reaction_type = Choice(*REACTION_TYPES, required=True)


class ReactionView(Schema):
    """Who reacted, and how."""

    participant_id = Id(required=True)
    user_id = Id(required=True, allow_none=True)
    user_name = fields.String(required=True)
    reaction_type = Choice(*REACTION_TYPES, required=True)
