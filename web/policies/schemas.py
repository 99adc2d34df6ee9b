"""What the doors of policies take and give."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from shared.meetings.models import STATUSES
from shared.policies.models import (
    ALL,
    AUTOMATIC,
    CLOSE,
    DOMAIN_RESTRICTED,
    END,
    HOST,
    MANUAL,
    NONE,
    NOTIFY,
    PROMOTE,
    WAIT,
)
from web.http.schema import Bool, Choice, Id, Int, Schema, Text, Time


class Domain(fields.String):
    """A domain name, in lower case."""

    def __init__(self) -> None:
        super().__init__(
            validate=validate.And(
                validate.Length(1, 253),
                validate.Regexp(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+\Z", error="Not a domain name."),
            )
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return str(super()._deserialize(value, attr, data, **kwargs)).lower()


class PolicyRequest(Schema):
    """The rules of a meeting; what is not given keeps its default (contract 6)."""

    require_waiting_room = Bool()
    require_password = Bool()
    passcode = Text(4, 64, load_only=True)
    allow_anonymous_join = Bool()
    max_participants = Int(validate=validate.Range(1, 10_000))
    allowed_domains = fields.List(Domain(), validate=validate.Length(max=100))
    blocked_users = fields.List(Id(), validate=validate.Length(max=1000))
    recording_permissions = Choice(HOST, ALL, NONE)
    screen_share_permissions = Choice(HOST, ALL, NONE)
    chat_permissions = Choice(HOST, ALL, NONE)
    mute_on_entry = Bool()
    disable_camera = Bool()
    lock_meeting = Bool()
    enable_breakout_rooms = Bool()
    enable_polls = Bool()
    enable_whiteboard = Bool()
    enable_file_sharing = Bool()
    enable_reactions = Bool()
    enable_hand_raise = Bool()
    enable_e2e_encryption = Bool()
    idle_timeout_minutes = Int(validate=validate.Range(0, 1440))
    meeting_duration_minutes = Int(validate=validate.Range(0, 10_080))
    join_approval_mode = Choice(AUTOMATIC, MANUAL, DOMAIN_RESTRICTED)
    host_handover = Choice(WAIT, PROMOTE, END)
    host_handover_minutes = Int(validate=validate.Range(0, 60))
    waiting_room_timeout_minutes = Int(validate=validate.Range(0, 1440))
    waiting_room_escalation = Choice(NOTIFY, PROMOTE, CLOSE)
    custom_settings = fields.Dict(keys=Text(1, 64), values=fields.Raw(), validate=validate.Length(max=50))


class PolicyChange(PolicyRequest):
    """The rules that shall be different. `passcode` null takes the passcode away."""

    passcode = Text(4, 64, load_only=True, allow_none=True)

    @ma.validates_schema
    def something_is_given(self, data: dict[str, Any], **_: object) -> None:
        """Refuse a request that changes nothing."""
        if not data:
            raise ma.ValidationError("Give at least one rule.")


class PolicyView(Schema):
    """The rules of a meeting. `blocked_users` and `custom_settings` are for hosts and co-hosts only."""

    meeting_id = Id(required=True)
    version = fields.Integer(required=True)
    updated_at = Time(required=True)
    has_passcode = fields.Boolean(required=True)
    require_waiting_room = fields.Boolean(required=True)
    require_password = fields.Boolean(required=True)
    allow_anonymous_join = fields.Boolean(required=True)
    max_participants = fields.Integer(required=True)
    allowed_domains = fields.List(fields.String(), required=True)
    blocked_users = fields.List(Id())
    recording_permissions = Choice(HOST, ALL, NONE, required=True)
    screen_share_permissions = Choice(HOST, ALL, NONE, required=True)
    chat_permissions = Choice(HOST, ALL, NONE, required=True)
    mute_on_entry = fields.Boolean(required=True)
    disable_camera = fields.Boolean(required=True)
    lock_meeting = fields.Boolean(required=True)
    enable_breakout_rooms = fields.Boolean(required=True)
    enable_polls = fields.Boolean(required=True)
    enable_whiteboard = fields.Boolean(required=True)
    enable_file_sharing = fields.Boolean(required=True)
    enable_reactions = fields.Boolean(required=True)
    enable_hand_raise = fields.Boolean(required=True)
    enable_e2e_encryption = fields.Boolean(required=True)
    idle_timeout_minutes = fields.Integer(required=True)
    meeting_duration_minutes = fields.Integer(required=True)
    join_approval_mode = Choice(AUTOMATIC, MANUAL, DOMAIN_RESTRICTED, required=True)
    host_handover = Choice(WAIT, PROMOTE, END, required=True)
    host_handover_minutes = fields.Integer(required=True)
    waiting_room_timeout_minutes = fields.Integer(required=True)
    waiting_room_escalation = Choice(NOTIFY, PROMOTE, CLOSE, required=True)
    custom_settings = fields.Dict()


class NeedsView(Schema):
    """What somebody needs to get in: an account, the passcode, a host who admits them, an address of a domain."""

    account = fields.Boolean(required=True)
    passcode = fields.Boolean(required=True)
    waiting_room = fields.Boolean(required=True)
    domain = fields.Boolean(required=True)


class CardView(Schema):
    """A meeting as anybody may see it who knows its id."""

    meeting_id = Id(required=True)
    title = fields.String(required=True)
    status = Choice(*STATUSES, required=True)
    scheduled_start = Time(required=True, allow_none=True)
    host_name = fields.String(required=True)
    needs = fields.Nested(NeedsView, required=True)


class AccessRequest(Schema):
    """Whose join; without `user_id` your own."""

    user_id = Id(allow_none=True, load_default=None)


class AccessView(Schema):
    """What a join would get: `code` as the join would answer, null for who may come in at once."""

    allowed = fields.Boolean(required=True)
    action = Choice("join", "wait", "deny", required=True)
    code = fields.String(required=True, allow_none=True)
    rule = fields.String(required=True)
    remedy = fields.String(required=True, allow_none=True)


class SimulationRequest(Schema):
    """The rules to try."""

    policy = fields.Nested(PolicyChange, required=True)


class OutcomeView(Schema):
    """What a join gets: `code` as the join would answer, null for who may come in at once."""

    action = Choice("join", "wait", "deny", required=True)
    code = fields.String(required=True, allow_none=True)
    rule = fields.String(required=True)
    remedy = fields.String(required=True, allow_none=True)


class SimulatedJoinView(Schema):
    """Somebody who asked for entry, by the rules as they are and by the others."""

    participant_id = Id(required=True)
    user_name = fields.String(required=True)
    now = fields.Nested(OutcomeView, required=True)
    then = fields.Nested(OutcomeView, required=True)


class OutcomesView(Schema):
    """How many would get what."""

    join = fields.Integer(required=True)
    wait = fields.Integer(required=True)
    deny = fields.Integer(required=True)


class SimulationView(Schema):
    """What the rules would have meant: `changed` of `evaluated` joins would have got another answer."""

    evaluated = fields.Integer(required=True)
    changed = fields.Integer(required=True)
    outcomes = fields.Nested(OutcomesView, required=True)
    joins = fields.List(fields.Nested(SimulatedJoinView), required=True)
