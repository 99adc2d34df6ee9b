"""What identity's doors take and give."""

import marshmallow as ma
from marshmallow import fields, validates

from shared.identity.names import clean_name
from shared.identity.scopes import SCOPES
from web.http.schema import Choice, Email, Id, Schema, Text, Time


class Password(fields.String):
    """A password: 8 to 256 characters, taken as it is."""

    def __init__(self) -> None:
        super().__init__(required=True, load_only=True, validate=ma.validate.Length(8, 256))


class RegisterRequest(Schema):
    """A new account."""

    email = Email(required=True)
    name = Text(1, 100, required=True)
    password = Password()

    @validates("name")
    def name_is_visible(self, value: str, **_: object) -> None:
        """Refuse a name of nothing but invisible characters."""
        if not clean_name(value):
            raise ma.ValidationError("Say what others should call you.")


class LoginRequest(Schema):
    """E-mail and password."""

    email = Email(required=True)
    password = fields.String(required=True, load_only=True, validate=ma.validate.Length(1, 256))


class User(Schema):
    """An account as its owner sees it."""

    user_id = Id(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)


class SignedIn(Schema):
    """A session: send `access_token` as Bearer; use `refresh_token` once at /auth/refresh."""

    user = fields.Nested(User, required=True)
    access_token = fields.String(required=True)
    refresh_token = fields.String(required=True)
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds the access token lives."})


class ApiKeyRequest(Schema):
    """A new API key: what it is for, and what it may do. Without `expires_at` it works until it is revoked."""

    name = Text(1, 100, required=True)
    scopes = fields.List(Choice(*SCOPES), required=True, validate=ma.validate.Length(1, len(SCOPES)))
    expires_at = Time(load_default=None, allow_none=True)

    @validates("scopes")
    def each_scope_once(self, value: list[str], **_: object) -> None:
        """Refuse a scope that is named twice."""
        if len(set(value)) < len(value):
            raise ma.ValidationError("Name each scope once.")


class ApiKeyView(Schema):
    """An API key as its owner sees it. `last_used_at` is exact to ten minutes."""

    api_key_id = Id(required=True)
    name = fields.String(required=True)
    prefix = fields.String(required=True, metadata={"description": "How the key begins."})
    scopes = fields.List(Choice(*SCOPES), required=True)
    created_at = Time(required=True)
    last_used_at = Time(required=True, allow_none=True)
    expires_at = Time(required=True, allow_none=True)
    revoked_at = Time(required=True, allow_none=True)


class NewApiKey(ApiKeyView):
    """An API key that was just made: `key` is shown only now."""

    key = fields.String(required=True)
