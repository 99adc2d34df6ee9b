"""What is told about policies."""

from marshmallow import fields

from shared.policies.events import PolicyChanged
from web.http.schema import Schema
from web.policies.schemas import PolicyView
from web.realtime.announcements import announces


class PolicyData(Schema):
    """The rules as they are from here on, and the names of those that are different."""

    version = fields.Integer(required=True)
    changed = fields.List(fields.String(), required=True)
    policy = fields.Nested(PolicyView, required=True)


announces(PolicyData(), PolicyChanged)
