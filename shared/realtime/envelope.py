"""The envelope: how an event looks as a frame, and how it travels between processes.

A frame is encoded once, by the process that caused it. The wake-up on Redis carries it, so that hubs can write it to
their sockets as it is; `decode` splits the wake-up without parsing the JSON.
"""

import time
from datetime import datetime
from typing import NamedTuple

import orjson

from shared.core import strict_json
from shared.core.ledger import Entry
from shared.core.messages import Signal
from shared.core.streams import wire_name
from shared.core.transaction import encode_data


class Wakeup(NamedTuple):
    """One message between processes. `seq` is 0 and `effect` None for a signal, which is not kept.

    `sent_at` is when it was made, right after the commit, as POSIX time; 0 when that is not known.
    """

    stream: str
    seq: int
    effect: str | None
    frame: bytes
    sent_at: float = 0.0


def timestamp(moment: datetime) -> str:
    """Return RFC 3339 in UTC with `Z`, to the millisecond."""
    if not moment.microsecond:  # orjson leaves the fraction out then
        return f"{moment.isoformat(timespec='milliseconds')[:23]}Z"
    return f"{orjson.dumps(moment)[1:24].decode()}Z"  # a sixth of the time, for each frame


def frame_of(entry: Entry) -> bytes:
    """Return the server frame of a kept event, as UTF-8 JSON."""
    return _frame(entry.type, entry.meeting_id, entry.actor_id, entry.data, entry.created_at, entry.stream, entry.seq)


def frame_of_signal(signal: Signal, now: datetime) -> bytes:
    """Return the server frame of a signal: `stream` and `seq` are null."""
    return _frame(signal.type, signal.meeting_id, signal.actor_id, encode_data(signal), now, None, None)


def direct_frame(type_: str, meeting_id: str, data: object, now: datetime) -> bytes:
    """Return a frame for one connection only (welcome, pong, resync)."""
    text = strict_json.dumps(data).decode()
    return _frame(type_, meeting_id, None, text, now, None, None)


def _frame(
    type_: str, meeting_id: str, actor_id: str | None, data: str, at: datetime, stream: str | None, seq: int | None
) -> bytes:
    # Types, ids and stream names are ASCII of ours and need no escaping; `data` is JSON already.
    user = f'"{actor_id}"' if actor_id else "null"
    name = f'"{wire_name(stream)}"' if stream else "null"
    return (
        f'{{"type":"{type_}","meeting_id":"{meeting_id}","user_id":{user},"data":{data},'
        f'"timestamp":"{timestamp(at)}","stream":{name},"seq":{seq if seq is not None else "null"}}}'
    ).encode()


def encode(stream: str, seq: int, effect: str | None, frame: bytes) -> bytes:
    """Return a wake-up as bytes, made now."""
    return b"%s %d %s %d\n%s" % (stream.encode(), seq, (effect or "-").encode(), time.time_ns() // 1000, frame)


def decode(message: bytes) -> Wakeup:
    """Read a wake-up back."""
    head, _, frame = message.partition(b"\n")
    stream, seq, effect, *sent = head.decode().split(" ")  # a process of an older release does not say when
    return Wakeup(stream, int(seq), None if effect == "-" else effect, frame, int(sent[0]) / 1e6 if sent else 0.0)
