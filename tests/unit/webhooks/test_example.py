"""The receiver that docs/integrate/webhooks.md shows does what is asked of receivers."""

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.webhooks.sending import Letter, signed

pytestmark = pytest.mark.once

SECRET, OTHER = "whsec_" + "A" * 44, "whsec_" + "B" * 44
LETTER = Letter("evt_M_17", b'{"event":"chat.message","meeting_id":"M","seq":17,"data":{"content":"\xe2\x98\x83"}}')


@pytest.fixture
def example(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The page's code, running; its port."""
    (code,) = re.findall(r"```python\n(.*?)```", (project / "docs/integrate/webhooks.md").read_text(), re.DOTALL)
    monkeypatch.setenv("PARLEY_WEBHOOK_SECRET", SECRET)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "webhooks.md", "exec"), names)
    names["Receiver"].log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), names["Receiver"]) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def send(port: int, body: bytes, headers: dict[str, str]) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/parley", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_example_takes_what_is_signed_handles_it_once_and_refuses_the_rest(
    example: int, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    good = signed((SECRET,), LETTER, now)
    assert send(example, LETTER.body, good) == 204
    assert send(example, LETTER.body, signed((OTHER, SECRET), LETTER, now)) == 204  # again, during a rotation
    assert capsys.readouterr().out.splitlines() == ["M 17 chat.message {'content': '\u2603'}"]
    for body, headers in (
        (LETTER.body.replace(b"17", b"18"), good),
        (LETTER.body, signed((OTHER,), LETTER, now)),
        (LETTER.body, signed((SECRET,), LETTER, datetime(2026, 1, 1, tzinfo=UTC))),
        (LETTER.body, {**good, "webhook-signature": "nonsense"}),
        (b"\xff", good),
        (b"", {}),
    ):
        assert send(example, body, headers) == 400
    assert capsys.readouterr().out == ""
