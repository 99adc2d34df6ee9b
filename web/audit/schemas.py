"""What the doors of the audit trail take and give."""

from marshmallow import fields

from shared.audit.kinds import KINDS
from shared.audit.models import OUTCOMES
from web.http.schema import Choice, Id, Paging, Schema, Time


class TrailQuery(Paging):
    """Which rows of the trail."""

    kind = Choice(*KINDS)
    outcome = Choice(*OUTCOMES)
    actor_id = Id(metadata={"description": "Who did it: a participant id, or a user id."})
    target_id = Id(metadata={"description": "To whom: a participant id, or a user id."})
    from_ = Time(data_key="from", metadata={"description": "Not before."})
    to = Time(metadata={"description": "Before."})


class PartyView(Schema):
    """Somebody in a row; all null for nobody in particular, or the system."""

    participant_id = Id(required=True, allow_none=True)
    user_id = Id(required=True, allow_none=True)
    name = fields.String(required=True, allow_none=True)


class AuditView(Schema):
    """A row of the trail: who did what to whom, or wanted to and might not."""

    seq = fields.Integer(required=True)
    kind = Choice(*KINDS, required=True)
    outcome = Choice(*OUTCOMES, required=True)
    actor = fields.Nested(PartyView, required=True)
    target = fields.Nested(PartyView, required=True)
    details = fields.Dict(keys=fields.String(), required=True)
    at = fields.String(required=True, metadata={"format": "date-time"})
    hash = fields.String(required=True)
    previous_hash = fields.String(required=True)
