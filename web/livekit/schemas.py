"""What the doors of media take and give."""

from marshmallow import fields

from web.http.schema import Id, Schema, Time


class TokenRequest(Schema):
    """Which room: the meeting's own, or a breakout room."""

    breakout_room_id = Id(allow_none=True, load_default=None)


class TokenView(Schema):
    """A token for LiveKit; ask for a new one before it expires."""

    token = fields.String(required=True)
    livekit_url = fields.String(required=True)
    room = fields.String(required=True)
    identity = fields.String(required=True)
    expires_at = Time(required=True)
    can_publish = fields.Boolean(required=True)
    can_publish_sources = fields.List(fields.String(), required=True)
    can_publish_data = fields.Boolean(required=True)
    can_subscribe = fields.Boolean(required=True)


class EventReceived(Schema):
    """LiveKit's id of the event that is stored."""

    event_id = fields.String(required=True)
