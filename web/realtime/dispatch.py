"""From a text frame to the service function: the same four steps as for a request (contract 11)."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from marshmallow import ValidationError

from shared.core import strict_json
from shared.core.database import TransactionConflict
from shared.core.errors import DomainError, InternalError, MalformedBody, ServiceUnavailable, ValidationFailed
from shared.core.greenlets import give_way
from shared.core.idempotency import Request
from shared.core.transaction import Position
from web.http.limits import count_message
from web.http.schema import messages_of
from web.realtime.committer import Committed, Committer
from web.realtime.frame_types import FRAME_TYPES, Ask, FrameType, Sender
from web.realtime.tally import TALLY

log = logging.getLogger(__name__)

MAX_ID = 64
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """What goes back to the sender. `is_malformed` counts towards closing the socket; `is_ping` asks for a pong."""

    frame: bytes | None
    is_malformed: bool = False
    is_ping: bool = False


_SILENCE = Outcome(None)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A frame that is good as far as one can tell without the database."""

    frame_id: Any
    ask: Ask


def dispatch(committer: Committer, sender: Sender, frames: Iterable[bytes], patience: int) -> list[Outcome]:
    """Do what frames of one connection ask for, in their order; return for each the ack or the error. Raises nothing.

    Frames that are kept and came together are committed together where that is possible. What comes behind the
    `patience`-th malformed frame is not looked at.
    """
    steps: list[Outcome | _Pending] = []
    for count, raw in enumerate(frames):
        if count and count % AT_ONCE == 0:
            give_way()  # one read may bring hundreds of frames
        steps.append(_begin(committer, sender, raw))
        patience -= isinstance(steps[-1], Outcome) and steps[-1].is_malformed
        if not patience:
            break
    committed = iter(committer.commit([step.ask for step in steps if isinstance(step, _Pending)]))
    return [_finish(committer, step, next(committed)) if isinstance(step, _Pending) else step for step in steps]


def _begin(committer: Committer, sender: Sender, raw: bytes) -> Outcome | _Pending:
    """Read a frame. What is not kept is done; what is kept waits to be committed."""
    frame_id: Any = None
    kind: FrameType | None = None
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
            return replace(_done(frame_id, None), is_ping=True)
        kind = FRAME_TYPES[message["type"]]
        ask = _ask(committer, sender, kind, message)
        if ask is not None:
            return _Pending(frame_id, ask)
        return _done(frame_id, None)
    except Exception as refused:
        _note(committer, sender, kind, refused)
        return _refused(sender, frame_id if _is_frame_id(frame_id) else None, refused)


def _done(frame_id: Any, position: Position | None) -> Outcome:
    """Return what goes back when all went well: an ack to who has named the frame."""
    return _SILENCE if frame_id is None else Outcome(ack(frame_id, position))


def _finish(committer: Committer, step: _Pending, committed: Committed | Exception) -> Outcome:
    if isinstance(committed, Exception):
        _note(committer, step.ask.sender, step.ask.kind, committed)
        return _refused(step.ask.sender, step.frame_id, committed)
    return _done(step.frame_id, committed)


def _note(committer: Committer, sender: Sender, kind: FrameType | None, why: Exception) -> None:
    """Let the audit trail know of a refusal; what was done of the frame is undone already."""
    if kind is not None and isinstance(why, DomainError):
        operation = f"frame {kind.name}"
        committer.refusals.note(why, sender.meeting_id, sender.actor, kind.permission, operation)


def _refused(sender: Sender, frame_id: Any, why: Exception) -> Outcome:
    if isinstance(why, _NotJson):
        return Outcome(error(None, why), is_malformed=True)
    if isinstance(why, DomainError):
        return Outcome(error(frame_id, why))
    if isinstance(why, TransactionConflict):
        return Outcome(error(frame_id, ServiceUnavailable()))
    log.error("frame_failed", extra={"meeting_id": sender.meeting_id}, exc_info=why)
    return Outcome(error(frame_id, InternalError()))


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
    """Raise ValidationFailed unless this is `type`, `data` and perhaps `id`, as they must be."""
    kind, data = message.get("type"), message.get("data")
    if len(message) == 2 and type(kind) is str and kind in FRAME_TYPES and type(data) is dict:
        return  # as most are
    wrong: dict[str, list[str]] = {name: ["Unknown field."] for name in message.keys() - {"type", "data", "id"}}
    if not isinstance(kind, str):
        wrong["type"] = ["Say what this frame is."]
    elif kind != "ping" and kind not in FRAME_TYPES:
        wrong["type"] = [f"Must be one of: {', '.join(sorted([*FRAME_TYPES, 'ping']))}."]
    if "id" in message and not _is_frame_id(message["id"]):
        wrong["id"] = [f"Must be a string of 1 to {MAX_ID} characters or a whole number."]
    if kind == "ping":
        data = message.get("data", {})
    if not isinstance(data, dict):
        wrong["data"] = ["Must be an object."]
    elif kind == "ping" and data:
        wrong["data"] = ["A ping carries nothing."]
    if wrong:
        raise ValidationFailed(details=wrong)


def _is_frame_id(value: Any) -> bool:
    if isinstance(value, str):
        return 1 <= len(value) <= MAX_ID
    return isinstance(value, int) and not isinstance(value, bool)


def _ask(committer: Committer, sender: Sender, kind: FrameType, message: dict[str, Any]) -> Ask | None:
    """Return what a frame asks for; None for a signal, which is told. Raises what keeps it from being done."""
    TALLY.received(kind.name)
    wanted = message["data"]
    if kind.fits is None or not kind.fits(wanted):
        try:
            wanted = kind.schema.load(wanted)
        except ValidationError as broken:
            raise ValidationFailed(details=messages_of(broken)) from None
    if kind.limit is None:
        committer.runtime.tell(kind.handle(committer.standings.of(sender), **wanted))
        return None
    count_message(kind.limit, sender.actor.key)
    once = None
    if "id" in message:
        body = strict_json.dumps([message["type"], message["data"]])
        once = Request(sender.participant_id, "ws", str(message["id"]), body)
    return Ask(kind, sender, wanted, once)


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
