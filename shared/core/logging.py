"""Logs: one JSON object a line, with the ids of request, meeting and task, and without secrets (promises P23)."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

_SECRET_NAMES = re.compile(r"passw|passcode|secret|token|ticket|authorization|cookie|content", re.IGNORECASE)
_SECRET_VALUES = re.compile(
    r"eyJ[\w-]{10,}\.[\w-]+\.[\w-]+"  # JWT
    r"|(?<=ticket=)[\w-]+"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user:password@ and :password@ in URLs
)


def redact(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank out values that are, or look like, credentials, however deep they lie."""
    for name, value in line.items():
        line[name] = _without_secrets(value) if name == "event" else _redacted(name, value)
    return line


def _redacted(name: str, value: Any) -> Any:
    return "[redacted]" if _SECRET_NAMES.search(name) else _without_secrets(value)


def _without_secrets(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _redacted(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(inner) for inner in value]
    return _SECRET_VALUES.sub("[redacted]", str(value))


def configure(level: str, service: str) -> None:
    """Send the standard library's logging to stdout as JSON lines."""
    steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        _add_service(service),
    ]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=steps,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("celery.worker.strategy", "celery.app.trace", "celery.beat", "alembic", "flask-limiter", "urllib3"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _add_service(service: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["service"] = service
        return line

    return add


__all__ = ["bind_contextvars", "clear_contextvars", "configure", "redact"]
