"""From a text frame to the service function: the same four steps as for a request (contract 11)."""

import json
import logging
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError

from shared.core import strict_json
from shared.core.database import TransactionConflict
from shared.core.errors import DomainError, InternalError, MalformedBody, ServiceUnavailable, ValidationFailed
from shared.core.idempotency import Request
from shared.core.transaction import Position
from web.http.limits import count_message
from web.http.schema import messages_of
from web.realtime.committer import Committer
from web.realtime.frame_types import FRAME_TYPES, Ask, Sender
from web.realtime.tally import TALLY

log = logging.getLogger(__name__)

MAX_ID = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What goes back to the sender. `is_malformed` counts towards closing the socket; `is_ping` asks for a pong."""

    frame: bytes | None
    is_malformed: bool = False
    is_ping: bool = False


def dispatch(committer: Committer, sender: Sender, raw: bytes) -> Outcome:
    """Do what a frame asks for, and return the ack or the error. Raises nothing."""
    frame_id: Any = None
    try:
        try:
            message = _parse(raw)
        except ValidationFailed:
            frame_id = _id_in(raw)
            raise
        frame_id = message.get("id")
        _check_envelope(message)
        if message["type"] == "ping":
            TALLY.received("ping")
            return Outcome(ack(frame_id, None) if frame_id is not None else None, is_ping=True)
        position = _run(committer, sender, message)
        return Outcome(ack(frame_id, position) if frame_id is not None else None)
    except _NotJson as broken:
        return Outcome(error(None, broken), is_malformed=True)
    except DomainError as refusal:
        return Outcome(error(frame_id if _is_frame_id(frame_id) else None, refusal))
    except TransactionConflict:
        return Outcome(error(frame_id, ServiceUnavailable()))
    except Exception:
        log.exception("frame_failed", extra={"meeting_id": sender.meeting_id})
        return Outcome(error(frame_id if _is_frame_id(frame_id) else None, InternalError()))


class _NotJson(MalformedBody):
    """Nobody can read this."""

    message = "The frame is not valid JSON."


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        message = strict_json.loads(raw)
    except strict_json.MalformedJson as broken:
        if not _reads_leniently(raw):
            raise _NotJson(f"The frame is not valid JSON: {broken}") from None
        raise ValidationFailed(details={"_schema": [str(broken)]}) from None
    except strict_json.RefusedJson as refused:
        raise ValidationFailed(details={"_schema": [str(refused)]}) from None
    if not isinstance(message, dict):
        raise ValidationFailed(details={"_schema": ["A frame is a JSON object."]})
    return message


def _reads_leniently(raw: bytes) -> bool:
    """Tell whether laxer readers take this: NaN, Infinity, lone surrogates and endless nesting are refused as values,
    and only what is no JSON to anybody counts towards closing the socket (contract 11)."""
    try:
        json.loads(raw)
    except RecursionError:
        return True
    except ValueError as broken:
        return "integer string conversion" in str(broken)
    return True


def _id_in(raw: bytes) -> Any:
    """Return the id of a frame that was refused as JSON, as a laxer reader finds it, or None."""
    try:
        message = json.loads(raw)
        frame_id = message.get("id")
        return frame_id if _is_frame_id(frame_id) and strict_json.dumps(frame_id) else None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _check_envelope(message: dict[str, Any]) -> None:
    wrong: dict[str, list[str]] = {name: ["Unknown field."] for name in message.keys() - {"type", "data", "id"}}
    if not isinstance(message.get("type"), str):
        wrong["type"] = ["Say what this frame is."]
    elif message["type"] != "ping" and message["type"] not in FRAME_TYPES:
        wrong["type"] = [f"Must be one of: {', '.join(sorted([*FRAME_TYPES, 'ping']))}."]
    if "id" in message and not _is_frame_id(message["id"]):
        wrong["id"] = [f"Must be a string of 1 to {MAX_ID} characters or a whole number."]
    data = message.get("data", {} if message.get("type") == "ping" else None)
    if not isinstance(data, dict):
        wrong["data"] = ["Must be an object."]
    elif message.get("type") == "ping" and data:
        wrong["data"] = ["A ping carries nothing."]
    if wrong:
        raise ValidationFailed(details=wrong)


def _is_frame_id(value: Any) -> bool:
    if isinstance(value, str):
        return 1 <= len(value) <= MAX_ID
    return isinstance(value, int) and not isinstance(value, bool)


def _run(committer: Committer, sender: Sender, message: dict[str, Any]) -> Position | None:
    kind = FRAME_TYPES[message["type"]]
    TALLY.received(kind.name)
    wanted = message["data"]
    if kind.fits is None or not kind.fits(wanted):
        try:
            wanted = kind.schema.load(wanted)
        except ValidationError as broken:
            raise ValidationFailed(details=messages_of(broken)) from None
    if kind.limit is None:
        committer.runtime.tell(kind.handle(sender.standing(committer.runtime), **wanted))
        return None
    count_message(kind.limit, sender.actor.key)
    once = None
    if "id" in message:
        body = strict_json.dumps([message["type"], message["data"]])
        once = Request(sender.participant_id, "ws", str(message["id"]), body)
    return committer.commit(Ask(kind, sender, wanted, once))


def ack(frame_id: Any, position: Position | None) -> bytes:
    """Return the frame that says: it is durable, and here it stands."""
    return strict_json.dumps(
        {
            "type": "ack",
            "id": frame_id,
            "stream": position.name if position else None,
            "seq": position.seq if position else None,
        }
    )


def error(frame_id: Any, refusal: DomainError) -> bytes:
    """Return the frame that says: no, and nothing was changed."""
    return strict_json.dumps(
        {
            "type": "error",
            "id": frame_id,
            "code": refusal.code,
            "message": refusal.text,
            "details": refusal.details,
        }
    )
