"""The words in which doors describe what goes in and out: marshmallow, stricter than it comes."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from shared.realtime.envelope import timestamp


class Schema(ma.Schema):
    """A schema that refuses unknown fields and keeps the order of its own."""

    class Meta:
        unknown = ma.RAISE


class Empty(Schema):
    """Nothing: an empty body or {}."""


class Bool(fields.Boolean):
    """true or false, and nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Int(fields.Integer):
    """A whole number, and nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-any-return]


class Digits(Int):
    """A whole number in a query string: its decimal digits."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not re.fullmatch(r"-?[0-9]{1,16}", value):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(int(value), attr, data, **kwargs)


class Text(fields.String):
    """A string of bounded length. `strip` removes white space around it first."""

    def __init__(self, low: int, high: int, *, strip: bool = True, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(low, high), **kwargs)
        self._strip = strip

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        return text.strip() if self._strip and isinstance(text, str) else text  # type: ignore[no-any-return]


class Choice(fields.String):
    """One of some words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(validate=validate.OneOf(words), **kwargs)


class Email(fields.Email):
    """An e-mail address, at most 254 characters; kept in lower case, because addresses are compared."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(3, 254), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and not value.isascii():
            raise self.make_error("invalid")
        return str(super()._deserialize(value, attr, data, **kwargs)).lower()


class Time(fields.AwareDateTime):
    """RFC 3339; goes out in UTC with `Z`. Must be aware, between the years 1970 and 9000."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", **kwargs)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else timestamp(value.astimezone(UTC))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or len(value) > 40:
            raise self.make_error("invalid", input=value, obj_type="datetime")
        moment: datetime = super()._deserialize(value, attr, data, **kwargs)
        if not 1970 <= moment.year <= 9000:
            raise ma.ValidationError("Must lie between the years 1970 and 9000.")
        return moment.astimezone(UTC)


class Id(fields.String):
    """An id of ours; not checked for its form, because what it does not name is simply not found."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(1, 64), **kwargs)


class Paging(Schema):
    """How every list is read (contract 1)."""

    limit = Digits(load_default=50, validate=validate.Range(1, 200))
    cursor = fields.String(load_default=None, validate=validate.Length(1, 200))


def messages_of(broken: ma.ValidationError) -> dict[str, list[str]]:
    """Return what is wrong by field (contract 1); a field inside another one reads `policy.passcode`."""
    return dict(_by_field("", broken.normalized_messages()))


def _by_field(name: str, messages: Any) -> Iterator[tuple[str, list[str]]]:
    if not isinstance(messages, dict):
        yield name, messages
        return
    for part, inner in messages.items():
        yield from _by_field(f"{name}.{part}" if name else str(part), inner)
