"""Over https only who shows the host's certificate, of an issuer that is trusted, gets what is sent (S108, F31)."""

import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.webhooks import sending
from shared.webhooks.sending import Answer, Letter, Recipient, send
from tests.factories.certificates import NOW, certificate
from tests.fakes.receiver import Receiver

pytestmark = pytest.mark.once

UNTRUSTED = "The TLS certificate or handshake is not acceptable."


def serving(file: Path, asked: list[Any]) -> ssl.SSLContext:
    """Return the context of a server that shows a certificate, and notes for which host it is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    return context


@pytest.fixture(autouse=True)
def contexts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the context of a test end with it."""
    sending._tls.cache_clear()
    yield
    sending._tls.cache_clear()


def trust(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Have the issuer of a certificate trusted as those of the system are."""
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


def sent_to(receiver: Receiver) -> Answer:
    """Send a letter to `localhost`, over https."""
    recipient = Recipient(f"https://localhost:{receiver.port}/hook", ("whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",))
    return send(recipient, Letter("evt_1", b"{}"), NOW, private=True)


def test_the_hosts_own_certificate_of_a_trusted_issuer_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    file = certificate("localhost", tmp_path)
    trust(monkeypatch, file)
    with Receiver(serving(file, asked)) as receiver:
        assert (sent_to(receiver).status, sent_to(receiver).reason) == (204, None)
        assert len(receiver.arrivals) == 2
    assert asked == ["localhost"] * 2


@pytest.mark.parametrize("wrong", ["another host's", "of an issuer that nobody knows", "expired"])
def test_f31_any_other_certificate_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    until = NOW - timedelta(days=1) if wrong == "expired" else NOW + timedelta(days=1)
    name = "another.example" if wrong == "another host's" else "localhost"
    file = certificate(name, tmp_path, until=until)
    if wrong != "of an issuer that nobody knows":
        trust(monkeypatch, file)
    with Receiver(serving(file, [])) as receiver:
        answer = sent_to(receiver)
        assert (answer.status, answer.reason) == (None, UNTRUSTED)
        assert receiver.arrivals == []
