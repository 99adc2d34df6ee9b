"""Logs: one JSON object a line, without secrets."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest

from shared.core.logging import bind_contextvars, clear_contextvars, configure, redact

pytestmark = pytest.mark.once

SIGNATURE = "c2lnbmF0dXJlLWNhbmFyeQ"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.{SIGNATURE}"


class Printed(io.StringIO):
    """What the product has printed."""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def printed() -> Iterator[Printed]:
    """The product's logging, from level INFO, and what goes to stdout."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stdout = Printed()
    with redirect_stdout(stdout):
        configure("INFO", "web")
    try:
        yield stdout
    finally:
        root.handlers, root.level = handlers, level
        clear_contextvars()


log = logging.getLogger("parley.test")


def test_a_line_is_one_object_with_time_level_logger_and_service(printed: Printed):
    log.info("something_happened", extra={"count": 3})
    [line] = printed.lines()
    assert line["event"] == "something_happened"
    assert (line["level"], line["logger"], line["service"], line["count"]) == ("info", "parley.test", "web", 3)
    assert line["time"].endswith("Z")


def test_a_line_carries_the_ids_that_were_bound(printed: Printed):
    bind_contextvars(request_id="r1", meeting_id="m1")
    log.info("bound")
    clear_contextvars()
    log.info("free")
    bound, free = printed.lines()
    assert (bound["request_id"], bound["meeting_id"]) == ("r1", "m1")
    assert "request_id" not in free


def test_what_is_below_the_level_is_not_printed(printed: Printed):
    log.debug("whisper")
    logging.getLogger("celery.app.trace").info("chatter")
    logging.getLogger("celery.app.trace").warning("trouble")
    assert [line["event"] for line in printed.lines()] == ["trouble"]


@pytest.mark.parametrize(
    "text",
    ['\n{"level": "error", "event": "forged"}', "\r\nforged", "\u2028forged", "\x1b[31mforged", '", "level": "error'],
)
def test_s128_an_injected_line_stays_in_its_line(printed: Printed, text: str):
    log.info("title " + text, extra={"title": text})
    [line] = printed.lines()
    assert line["level"] == "info"
    assert line["title"] == text


SECRETS = [
    (f"Authorization: Bearer {JWT}", {}, SIGNATURE),
    (f"GET /ws/meetings/1?ticket=canary-Ticket_1&since=meeting:3 {JWT}", {}, "canary-Ticket_1"),
    ("postgresql://parley:canary-pw@db/parley refused", {}, "canary-pw"),
    ("redis://:canary-pw@redis:6379/0 refused", {}, "canary-pw"),
    ("login", {"password": "canary-pw"}, "canary-pw"),
    ("join", {"passcode": "canary-pw"}, "canary-pw"),
    ("join", {"Guest_Token": "canary-pw"}, "canary-pw"),
    ("hello", {"authorization": "Basic canary-pw"}, "canary-pw"),
    ("hello", {"headers": {"Cookie": "canary-pw"}}, "canary-pw"),
    ("chat", {"content": "canary-pw"}, "canary-pw"),
    ("config", {"jwt_secret_key": "canary-pw"}, "canary-pw"),
    ("deep", {"body": {"people": [{"password": "canary-pw"}]}}, "canary-pw"),
    ("deep", {"tried": ["x", f"Bearer {JWT}"]}, SIGNATURE),
    ("deep", {"tried": ("redis://:canary-pw@redis", {"ticket": "canary-pw"})}, "canary-pw"),
    ("bytes", {"raw": f"Bearer {JWT}".encode()}, SIGNATURE),
    ("object", {"error": ValueError("redis://:canary-pw@redis")}, "canary-pw"),
]


@pytest.mark.parametrize(("event", "extra", "secret"), SECRETS)
def test_s127_a_secret_does_not_get_out(printed: Printed, event: str, extra: dict[str, Any], secret: str):
    log.warning(event, extra=extra)
    text = printed.getvalue()
    assert text.count("\n") == 1
    assert secret not in text
    assert "[redacted]" in text


def test_s127_a_secret_in_a_traceback_or_an_argument_does_not_get_out(printed: Printed):
    try:
        raise ConnectionError("no route to redis://:canary-pw@redis:6379/0")
    except ConnectionError:
        log.exception("cannot reach %s", "amqp://user:canary-pw@broker//")
    text = printed.getvalue()
    assert "canary-pw" not in text
    assert "ConnectionError" in json.loads(text)["exception"]


def test_what_only_sounds_like_an_address_is_left_alone(printed: Printed):
    harmless = "see https://example.com/a:b and mail me@example.com, 3 of 4"
    log.info(harmless, extra={"where": "https://example.com:8443/path", "took": 1.5, "ok": True, "who": None})
    [line] = printed.lines()
    assert (line["event"], line["where"]) == (harmless, "https://example.com:8443/path")
    assert (line["took"], line["ok"], line["who"]) == (1.5, True, None)


def test_the_event_itself_is_never_blanked_as_a_whole():
    assert redact(None, "", {"event": "token_refreshed"}) == {"event": "token_refreshed"}
