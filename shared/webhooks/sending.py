"""Sending: one POST to a server that nobody here trusts (attacks S108, S109), signed as Standard Webhooks.

The connection goes to an address that was judged; nothing is followed; of the answer the status and at most 64 KiB of
headers are read, all within ten seconds, and the body not at all. Of the headers one counts: how long the receiver asks
to be left alone (`Retry-After`, RFC 9110 10.2.3).
"""

import io
import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException
from typing import Any, cast

from standardwebhooks import Webhook

from shared.core import tracing
from shared.core.metrics import WEBHOOK_SECONDS
from shared.webhooks.addresses import NotAllowed, NotFoundThere, Target, look_up, parse

SECONDS = 10.0
CONNECT_SECONDS = 5.0
LONGEST_ANSWER = 64 * 1024
BUSY = (429, 503)  # with these a receiver may say when to come again


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent: `id` is the same whenever the same event is sent."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a letter goes, and the secrets it is signed with, all of which are good."""

    url: str
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it. `status` is None when nobody answered; `reason` is None when the letter was taken (2xx).

    `wait_seconds` is for how long the receiver asked to be left alone, 0.0 when it did not.
    """

    status: int | None
    reason: str | None
    duration_ms: int
    wait_seconds: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Tell whether the receiver has said that it has the letter."""
        return self.reason is None


def send(recipient: Recipient, letter: Letter, now: datetime, *, private: bool) -> Answer:
    """Send a letter. Raises nothing: who cannot be reached is an answer too."""
    began = time.monotonic()
    status: int | None = None
    wait = 0.0
    try:
        with tracing.span("webhook", "client", event_id=letter.id):
            status, asked = _post(recipient, letter, now, private=private)
        wait = wait_asked(asked, now) if status in BUSY else 0.0
        reason = None if 200 <= status < 300 else _refused(status)
    except NotAllowed as refused:
        reason = f"Nothing is sent there. {refused}"
    except NotFoundThere as unknown:
        reason = str(unknown)
    except TimeoutError:
        reason = f"No answer within {SECONDS:.0f} seconds."
    except ssl.SSLError:
        reason = "The TLS certificate or handshake is not acceptable."
    except ConnectionRefusedError:
        reason = "The connection was refused."
    except (HTTPException, OSError, ValueError):
        reason = "The connection broke, or the answer was not HTTP."
    took = time.monotonic() - began
    WEBHOOK_SECONDS.labels("taken" if reason is None else "refused" if status else "unreached").observe(took)
    return Answer(status, reason, round(took * 1000), wait)


def _refused(status: int) -> str:
    return f"HTTP {status}: redirects are not followed." if 300 <= status < 400 else f"HTTP {status}."


def wait_asked(header: str | None, now: datetime) -> float:
    """Return how many seconds a `Retry-After` asks to wait: seconds, or an HTTP date; 0.0 when it says neither."""
    if header is None:
        return 0.0
    if re.fullmatch(r"[0-9]{1,9}", header.strip()):
        return float(header)
    try:
        when = parsedate_to_datetime(header)
        return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):  # whatever a stranger wrote there
        return 0.0


def signed(secrets: tuple[str, ...], letter: Letter, now: datetime) -> dict[str, str]:
    """Return the headers of Standard Webhooks: one signature for each secret."""
    text = letter.body.decode()
    return {
        "webhook-id": letter.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(letter.id, now, text) for secret in secrets),
    }


def _post(recipient: Recipient, letter: Letter, now: datetime, *, private: bool) -> tuple[int, str | None]:
    """Return the status, and what `Retry-After` says."""
    target = parse(recipient.url, private=private)
    deadline = time.monotonic() + SECONDS
    headers = {
        "Host": target.host_header,
        "Content-Type": "application/json",
        "User-Agent": "Parley-Webhooks/1",
        "Connection": "close",
        **signed(recipient.secrets, letter, now),
    }
    line = _Line(_connect(target, look_up(target, private=private), deadline), deadline)
    connection = HTTPConnection(target.host, target.port)
    connection.sock = cast(Any, line)
    try:
        connection.request("POST", target.path, letter.body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Retry-After")
    finally:
        connection.close()
        line.close()


def _connect(target: Target, addresses: list[str], deadline: float) -> socket.socket:
    """Return a connection to the first address that takes one; over https with the certificate of the host's name."""
    for last, address in enumerate(addresses, 1 - len(addresses)):
        try:
            raw = socket.create_connection((address, target.port), min(CONNECT_SECONDS, _left(deadline)))
            break
        except OSError:
            if last == 0:
                raise
    if target.scheme == "http":
        return raw
    try:
        raw.settimeout(_left(deadline))
        return _tls().wrap_socket(raw, server_hostname=target.host)
    except BaseException:
        raw.close()
        raise


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Line:
    """A socket, as far as http.client uses one, on which nothing lasts beyond a deadline."""

    def __init__(self, raw: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send all, in time. Raises TimeoutError."""
        self._raw.settimeout(_left(self._deadline))
        self._raw.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what comes, up to LONGEST_ANSWER and in time."""
        return io.BufferedReader(_Incoming(self._raw, self._deadline))

    def close(self) -> None:
        """Close the connection, whatever the other side still wants to say."""
        self._raw.close()


class _Incoming(io.RawIOBase):
    """Reads from a socket until the deadline, and no more than LONGEST_ANSWER."""

    def __init__(self, raw: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._deadline = deadline
        self._rest = LONGEST_ANSWER

    def readable(self) -> bool:
        """Tell that one can read from it."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is. Raises TimeoutError, and ValueError when it is too much: cut off, it would look whole."""
        room = memoryview(buffer)[: self._rest]
        if not room:
            raise ValueError("the headers do not end")
        self._raw.settimeout(_left(self._deadline))
        count = self._raw.recv_into(room)
        self._rest -= count
        return count
