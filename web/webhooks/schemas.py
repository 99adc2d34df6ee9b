"""What the doors of webhooks take and give."""

import marshmallow as ma
from marshmallow import fields, validate, validates

from shared.webhooks.addresses import LONGEST_URL
from shared.webhooks.kinds import KINDS, TEST
from shared.webhooks.models import STATES
from web.http.schema import Bool, Choice, Id, Int, Paging, Schema, Text, Time


class _Wish(Schema):
    url = Text(1, LONGEST_URL, required=True, metadata={"description": "https://, of a host on the Internet."})
    events = fields.List(Choice(*KINDS), required=True, validate=validate.Length(1, len(KINDS)))
    description = Text(0, 500, allow_none=True)

    @validates("events")
    def each_event_once(self, value: list[str], **_: object) -> None:
        """Refuse an event that is named twice."""
        if len(set(value)) < len(value):
            raise ma.ValidationError("Name each event once.")


class WebhookRequest(_Wish):
    """A new webhook: where to send what. Without `meeting_id` it is told of every meeting that you host."""

    meeting_id = Id(allow_none=True, metadata={"description": "The one meeting to tell of; you are its host."})


class WebhookChange(_Wish):
    """What shall be different."""

    class Meta(_Wish.Meta):
        """As the request, with nothing required."""

    url = Text(1, LONGEST_URL)
    events = fields.List(Choice(*KINDS), validate=validate.Length(1, len(KINDS)))
    is_enabled = Bool(metadata={"description": "Of what happens while it is off, nothing is lost."})


class WebhookView(Schema):
    """A webhook as its owner sees it. `failing_since` is null while it takes what is sent; `next_attempt_at` is when a
    receiver that failed several times in a row is tried again.
    """

    webhook_id = Id(required=True)
    url = fields.String(required=True)
    events = fields.List(Choice(*KINDS), required=True)
    description = fields.String(required=True, allow_none=True)
    meeting_id = Id(required=True, allow_none=True)
    is_enabled = Bool(required=True)
    failing_since = Time(required=True, allow_none=True)
    next_attempt_at = Time(required=True, allow_none=True)
    previous_secret_until = Time(required=True, allow_none=True)
    created_at = Time(required=True)


class NewSecret(WebhookView):
    """A webhook with a new secret, which is shown only now."""

    secret = fields.String(required=True, metadata={"description": "whsec_ and the key in Base64."})


class DeliveriesQuery(Paging):
    """Which deliveries."""

    meeting_id = Id(load_default=None)
    state = Choice(*STATES, load_default=None)


class DeliveryView(Schema):
    """What became of an event, or of a test, which has no meeting and no `seq`. `reason` says why it was not taken."""

    delivery_id = Id(required=True)
    webhook_id = Id(required=True)
    meeting_id = Id(required=True, allow_none=True)
    seq = fields.Integer(required=True, allow_none=True)
    event = Choice(*KINDS, TEST, required=True)
    state = Choice(*STATES, required=True)
    attempts = fields.Integer(required=True)
    response_status = fields.Integer(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)
    duration_ms = fields.Integer(required=True, allow_none=True)
    created_at = Time(required=True)
    last_attempt_at = Time(required=True, allow_none=True)


class ReplayRequest(Schema):
    """From which event of which meeting on to send again."""

    meeting_id = Id(required=True)
    from_seq = Int(required=True, validate=validate.Range(1, 2**53 - 1))


class ReplayView(Schema):
    """What is sent again: every event from `from_seq` on; `to_seq` is the last there is now."""

    webhook_id = Id(required=True)
    meeting_id = Id(required=True)
    from_seq = fields.Integer(required=True)
    to_seq = fields.Integer(required=True)
