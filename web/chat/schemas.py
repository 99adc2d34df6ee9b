"""What the doors of chat take and give."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from shared.chat.links import is_web_address
from shared.chat.models import MESSAGE_TYPES
from web.http.schema import Choice, Digits, Id, Int, Paging, Schema, Text, Time


def check_web_address(text: str) -> None:
    """Refuse what is not an http or https URL: clients may make a link of it."""
    if not is_web_address(text):
        raise ma.ValidationError("Must be an http or https URL.")


class FileRequest(Schema):
    """A file that lies elsewhere."""

    name = Text(1, 255, required=True)
    url = fields.String(required=True, validate=[validate.Length(1, 2000), check_web_address])
    size = Int(validate=validate.Range(0, 2**53 - 1))
    mime_type = Text(1, 100)


class MessageRequest(Schema):
    """Something to say; with `recipient_id` (a participant id) only to that person."""

    content = Text(1, 4000, strip=False, required=True)
    message_type = Choice(*MESSAGE_TYPES, load_default="text")
    recipient_id = Id(allow_none=True, load_default=None)
    reply_to = Id(allow_none=True, load_default=None)
    file = fields.Nested(FileRequest, allow_none=True, load_default=None)

    @ma.validates_schema
    def content_fits_its_type(self, data: dict[str, Any], **_: object) -> None:
        """Refuse blank text, links that are none, and files without a file."""
        if not data["content"].strip():
            raise ma.ValidationError("Say something.", "content")
        if data["message_type"] == "link":
            try:
                check_web_address(data["content"])
            except ma.ValidationError as broken:
                raise ma.ValidationError(broken.messages, "content") from None
        if (data["message_type"] == "file") != (data["file"] is not None):
            raise ma.ValidationError("A message of type file has a file, and no other has one.", "file")


class EditRequest(Schema):
    """The new text."""

    content = fields.String(
        required=True, validate=[validate.Length(1, 4000), validate.Regexp(r"\s*\S", error="Say something.")]
    )


class EmojiRequest(Schema):
    """An emoji, or a short name for one."""

    emoji = Text(1, 32, required=True)


class HistoryQuery(Paging):
    """Which part of the history."""

    offset = Digits(load_default=0, validate=validate.Range(0, 1_000_000))
    before_seq = Digits(validate=validate.Range(0, 2**53 - 1))
    after_seq = Digits(validate=validate.Range(0, 2**53 - 1))


class FileView(Schema):
    """A file that lies elsewhere."""

    name = fields.String(required=True)
    url = fields.String(required=True)
    size = fields.Integer()
    mime_type = fields.String()


class MessageView(Schema):
    """A message; `stream` and `seq` are where it stands for you. `content` is null once it was deleted."""

    message_id = Id(required=True)
    stream = fields.String(required=True)
    seq = fields.Integer(required=True)
    sender_id = Id(required=True)
    sender_name = fields.String(required=True)
    content = fields.String(required=True, allow_none=True)
    message_type = Choice(*MESSAGE_TYPES, required=True)
    recipient_id = Id(required=True, allow_none=True)
    is_private = fields.Boolean(required=True)
    reply_to = Id(required=True, allow_none=True)
    file = fields.Nested(FileView, required=True, allow_none=True)
    timestamp = Time(required=True)
    edited_at = Time(required=True, allow_none=True)
    is_deleted = fields.Boolean(required=True)


class ReactedView(Schema):
    """An emoji that stands on a message."""

    message_id = Id(required=True)
    participant_id = Id(required=True)
    emoji = fields.String(required=True)
