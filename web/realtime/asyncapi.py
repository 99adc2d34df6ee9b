"""The AsyncAPI document of the WebSocket: made from frame types, event schemas and close codes, so it cannot differ."""

from functools import cache
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, Response

import web
from shared.core import strict_json
from shared.core.errors import CATALOGUE
from shared.realtime.close_codes import MEANINGS
from web.http.reply import json_response
from web.http.schema import Schema
from web.realtime.announcements import ANNOUNCEMENTS
from web.realtime.dispatch import MAX_ID
from web.realtime.frame_types import FRAME_TYPES
from web.realtime.frames import MAX_MESSAGE_BYTES

blueprint = Blueprint("asyncapi", __name__)

_NULL: dict[str, Any] = {"type": "null"}
_TIME = {"type": "string", "format": "date-time"}
_CURSORS = {"type": "object", "additionalProperties": {"type": "integer"}}
_FRAME_ID: dict[str, Any] = {"oneOf": [{"type": "string", "minLength": 1, "maxLength": MAX_ID}, {"type": "integer"}]}

# Frames for one connection only, which no event class stands for.
_DIRECT: dict[str, dict[str, Any]] = {
    "welcome": {
        "type": "object",
        "description": "The first frame: who you are, where the streams stand, and how often to be heard.",
        "required": ["connection_id", "participant", "cursors", "epoch", "heartbeat", "recovered"],
        "properties": {
            "connection_id": {"type": "string"},
            "participant": {"$ref": "#/components/schemas/ParticipantView"},
            "cursors": _CURSORS,
            "epoch": {"type": "string"},
            "heartbeat": {
                "type": "object",
                "properties": {"interval": {"type": "number"}, "timeout": {"type": "number"}},
            },
            "recovered": {"type": "boolean"},
            "time": _TIME,
        },
    },
    "resync": {
        "type": "object",
        "description": "Your cursors cannot be continued: read the snapshot, whose cursors go on from there.",
        "properties": {"cursors": _CURSORS},
    },
    "pong": {"type": "object", "description": "The answer to a ping."},
}

DESCRIPTION = (
    f"Frames are JSON text of at most {MAX_MESSAGE_BYTES} bytes. A client frame has `type`, `data` and optionally "
    "`id`; one with `id` is answered by `ack` once it is durable, or by `error`. What is kept has a `stream` and its "
    "`seq`, 1, 2, 3 … without a hole; reconnect with `since=meeting:120,me:4` and hear what you missed, in order. "
    "A socket is opened with a user's access token, a guest's token, or a ticket. API keys open none: what is heard on "
    "it has no scope, and the answer is 403 before the upgrade."
)


@blueprint.get("/api/v1/asyncapi.json")
def asyncapi() -> Response:
    """Return the document."""
    return json_response(_document_text(), 200)


@cache
def _document_text() -> bytes:
    return strict_json.dumps(document())


def document() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document."""
    spec = APISpec("x", "1", "3.1.0", plugins=[MarshmallowPlugin()])
    for schema in (*(f.schema for f in FRAME_TYPES.values()), *ANNOUNCEMENTS.values()):
        _define(spec, schema)
    messages = {**_client_messages(), **_server_messages()}
    sent = sorted(name for name in messages if name.startswith("client."))
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Parley", "version": web.__version__, "description": DESCRIPTION},
        "channels": {
            "meeting": {
                "address": "/ws/meetings/{meeting_id}",
                "parameters": {"meeting_id": {"description": "A meeting you are in, or wait for."}},
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "query": _QUERY}},
            }
        },
        "operations": {
            "send": _operation("receive", sent),
            "hear": _operation("send", sorted(set(messages) - set(sent))),
        },
        "components": {
            "messages": messages,
            "schemas": {**spec.to_dict()["components"]["schemas"], "Ack": _ACK, "Error": _ERROR},
        },
        "x-close-codes": {str(code): meaning for code, meaning in MEANINGS.items()},
    }


def _define(spec: APISpec, schema: Schema) -> str:
    name = type(schema).__name__
    if name not in spec.components.schemas:
        spec.components.schema(name, schema=type(schema))
    return f"#/components/schemas/{name}"


def _operation(action: str, names: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/meeting"},
        "messages": [{"$ref": f"#/channels/meeting/messages/{name}"} for name in names],
    }


def _client_messages() -> dict[str, Any]:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        name: (kind.handle.__doc__ or "", {"$ref": f"#/components/schemas/{type(kind.schema).__name__}"})
        for name, kind in FRAME_TYPES.items()
    }
    kinds["ping"] = ("Ask for a pong.", {"type": "object", "maxProperties": 0})
    return {
        f"client.{name}": {
            "name": name,
            "summary": summary,
            **({"x-permission": FRAME_TYPES[name].permission.name} if name in FRAME_TYPES else {}),
            "payload": {
                "type": "object",
                "required": ["type"] if name == "ping" else ["type", "data"],
                "additionalProperties": False,
                "properties": {"type": {"const": name}, "data": data, "id": _FRAME_ID},
            },
        }
        for name, (summary, data) in sorted(kinds.items())
    }


def _server_messages() -> dict[str, Any]:
    data: dict[str, list[dict[str, Any]]] = {name: [schema] for name, schema in _DIRECT.items()}
    for event, schema in ANNOUNCEMENTS.items():
        reference = {"$ref": f"#/components/schemas/{type(schema).__name__}"}
        if reference not in data.setdefault(event.type, []):
            data[event.type].append(reference)
    messages: dict[str, Any] = {
        f"server.{name}": {"name": name, "payload": _frame(name, options)} for name, options in sorted(data.items())
    }
    messages["server.ack"] = {"name": "ack", "payload": {"$ref": "#/components/schemas/Ack"}}
    messages["server.error"] = {"name": "error", "payload": {"$ref": "#/components/schemas/Error"}}
    return messages


def _frame(name: str, options: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "meeting_id", "user_id", "data", "timestamp", "stream", "seq"],
        "properties": {
            "type": {"const": name},
            "meeting_id": {"type": "string"},
            "user_id": {"type": ["string", "null"]},
            "data": options[0] if len(options) == 1 else {"oneOf": options},
            "timestamp": _TIME,
            "stream": {"type": ["string", "null"], "enum": ["meeting", "hosts", "me", None]},
            "seq": {"type": ["integer", "null"]},
        },
    }


_QUERY = {
    "type": "object",
    "properties": {
        "ticket": {"type": "string", "description": "From POST …/ws-ticket: one use, within 30 seconds."},
        "since": {"type": "string", "description": "Cursors to go on from: meeting:120,me:4."},
        "epoch": {"type": "string", "description": "The epoch the cursors belong to."},
    },
}
_ACK = {
    "type": "object",
    "description": "It is durable, and here it stands; null for what is not kept.",
    "required": ["type", "id", "stream", "seq"],
    "properties": {
        "type": {"const": "ack"},
        "id": _FRAME_ID,
        "stream": {"type": ["string", "null"]},
        "seq": {"type": ["integer", "null"]},
    },
}
_ERROR = {
    "type": "object",
    "description": "No, and nothing was changed.",
    "required": ["type", "id", "code", "message", "details"],
    "properties": {
        "type": {"const": "error"},
        "id": {"oneOf": [*_FRAME_ID["oneOf"], _NULL]},
        "code": {"type": "string", "enum": sorted(CATALOGUE)},
        "message": {"type": "string"},
        "details": {"type": "object"},
    },
}
