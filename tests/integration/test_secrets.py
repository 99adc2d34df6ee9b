"""A real run with canaries for secrets, and then a look at everything that is written down on the way (P23)."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import redis

from dev.http_client import Api
from dev.valkey import Valkey
from dev.websocket_client import Refused, Socket
from shared.core import outbox
from shared.core.idempotency import idempotency_keys
from shared.core.ids import new_id
from shared.core.settings import Settings
from shared.identity.models import api_keys
from shared.runtime import Runtime, build_runtime
from tests.factories.database import own_database
from tests.stack import Stack

PASSWORD = "canary-password-4711"
WRONG_PASSWORD = "canary-wrong-password-4711"
PASSCODE = "canary-code-4711"
WRONG_PASSCODE = "canary-no-code-4711"
CHAT = "canary-chat-4711"
FORGED = "canary-forged-ticket-4711"


@dataclass
class Run:
    """What came about: the secrets by name, and everything that was written down, by place."""

    secrets: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)


class Monitor:
    """Notes every command that Valkey gets."""

    def __init__(self, url: str) -> None:
        self.lines: list[str] = []
        self._client = redis.Redis.from_url(url, socket_timeout=None)  # silence is no error here
        self._connection = self._client.monitor()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        try:
            for command in self._connection.listen():
                self.lines.append(command["command"])
        except (redis.RedisError, OSError, ValueError):
            return  # the server was stopped

    def __enter__(self) -> "Monitor":
        self._connection.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with redis.Redis.from_url(
            "redis://127.0.0.1", port=self._client.connection_pool.connection_kwargs["port"]
        ) as other:
            other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self._thread.join(5)
        self._client.close()


@pytest.fixture(scope="module")
def run(settings: Settings, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The whole product on a database and a Valkey of its own, through a meeting with all kinds of secrets."""
    directory = tmp_path_factory.mktemp("secrets")
    with own_database(database_url, directory) as url, Valkey() as valkey:
        own = replace(settings, database_url=url, redis_url=valkey.url, ratelimit_enabled=True)
        runtime = build_runtime(own)
        made = Run()
        with Monitor(valkey.url) as monitor, Stack(own, directory) as stack:
            live_through_a_meeting(stack, made.secrets)
            wait_for_the_worker(runtime)
            made.written["metrics"] = Api(stack.url).get("//metrics").body
            collect_rows(runtime, made.written)
        made.written["monitor"] = "\n".join(monitor.lines)
        made.written |= {path.name: path.read_text(errors="replace") for path in Path(directory).glob("*.log")}
        for name in ("secret_key", "jwt_secret_key", "livekit_api_secret"):
            made.secrets[name] = getattr(own, name)
        runtime.database.dispose()
        yield made


def live_through_a_meeting(stack: Stack, secrets: dict[str, str]) -> None:
    """Use every kind of secret, rightly and wrongly."""
    host, attendee, guest = (Api(stack.url) for _ in range(3))
    for number, person in enumerate((host, attendee)):
        email = f"{new_id().lower()}@example.com"
        account = {"email": email, "name": "Ada", "password": PASSWORD}
        person.post("/auth/register", account, headers={"Idempotency-Key": new_id()})
        signed_in = person.post("/auth/login", {"email": email, "password": PASSWORD}).data
        person.post("/auth/login", {"email": email, "password": WRONG_PASSWORD})
        secrets[f"access token {number}"] = person.token = signed_in["access_token"]
        secrets[f"refresh token {number}"] = signed_in["refresh_token"]
        renewed = Api(stack.url, signed_in["refresh_token"]).post("/auth/refresh").data
        secrets[f"second access token {number}"] = renewed["access_token"]
    key = host.post(
        "/api-keys", {"name": "Server", "scopes": ["meetings:read"]}, headers={"Idempotency-Key": new_id()}
    ).data
    secrets["api key"], secrets["secret of api key"] = key["key"], key["key"].removeprefix(key["prefix"])
    robot = Api(stack.url, key["key"])
    assert [robot.get("/meetings").status, robot.post("/meetings", {"title": "A"}).status] == [200, 403]
    assert host.delete(f"/api-keys/{key['api_key_id']}").status == 200
    assert robot.get("/meetings").status == 401
    policy = {"require_password": True, "passcode": PASSCODE, "allow_anonymous_join": True}
    meeting_id = stack.meeting(host, policy=policy)
    assert host.post(f"/meetings/{meeting_id}/join").status == 200
    assert attendee.post(f"/meetings/{meeting_id}/join", {"passcode": WRONG_PASSCODE}).code == "PASSCODE_INVALID"
    assert attendee.post(f"/meetings/{meeting_id}/join", {"passcode": PASSCODE}).status == 200
    entered = guest.post(f"/meetings/{meeting_id}/join", {"passcode": PASSCODE, "display_name": "Gast"})
    secrets["guest token"] = guest.token = entered.data["guest_token"]
    secrets["media token"] = host.post(f"/meetings/{meeting_id}/token").data["token"]
    secrets["ticket"] = ticket = attendee.post(f"/meetings/{meeting_id}/ws-ticket").data["ticket"]
    with Socket.open(stack.url, meeting_id, ticket=ticket) as socket:
        assert socket.request("chat", {"content": CHAT, "message_type": "text"})["type"] == "ack"
        socket.send_text('{"type":"chat","data":{"content":"' + CHAT)  # torn off
        assert socket.until("error")
    for wrong in ({"ticket": ticket}, {"ticket": FORGED}, {"query": {"access_token": host.token or ""}}):
        with pytest.raises(Refused):
            Socket(stack.url, meeting_id, **wrong)  # type: ignore[arg-type]
    said = {"content": CHAT, "message_type": "text"}
    assert host.post(f"/meetings/{meeting_id}/chat", said, headers={"Idempotency-Key": new_id()}).status == 201
    assert host.post(f"/meetings/{meeting_id}/chat", {**said, "password": PASSWORD}).status == 422
    assert host.post("/auth/login", raw=b'{"password": "' + PASSWORD.encode()).status == 400
    assert host.get(f"/meetings/{meeting_id}?passcode={PASSCODE}").status == 422
    assert host.post(f"/meetings/{meeting_id}/end").status == 200
    assert attendee.post("/auth/logout").status == 200
    secrets |= {
        "password": PASSWORD,
        "wrong password": WRONG_PASSWORD,
        "passcode": PASSCODE,
        "wrong passcode": WRONG_PASSCODE,
        "forged ticket": FORGED,
        "chat": CHAT,
    }


def wait_for_the_worker(runtime: Runtime) -> None:
    """Wait until the job that the end of the meeting has left was tried; there is no LiveKit server, so it fails."""
    until = time.monotonic() + 30
    while True:
        with runtime.reading() as tx:
            rows = tx.all(outbox.outbox.select())
        if rows and all(row.attempts for row in rows):
            return
        assert time.monotonic() < until
        time.sleep(0.1)


def collect_rows(runtime: Runtime, written: dict[str, str]) -> None:
    """Note what lies in the tables of work and of answers."""
    with runtime.reading() as tx:
        for table in (outbox.outbox, idempotency_keys, api_keys):
            rows: list[dict[str, Any]] = [dict(row._mapping) for row in tx.all(table.select())]
            written[f"table {table.name}"] = json.dumps(rows, default=str)


def test_the_run_was_a_real_one(run: Run) -> None:
    assert {"web0.log", "worker.log", "beat.log", "metrics", "monitor", "table outbox"} <= run.written.keys()
    assert '"event": "request"' in run.written["web0.log"]
    assert '"event": "job_failed"' in run.written["worker.log"]
    assert "livekit.delete_room" in run.written["monitor"]
    assert "parley_requests_total" in run.written["metrics"]
    assert len(run.secrets) >= 15
    assert all(len(secret) >= 10 for secret in run.secrets.values())


def test_no_secret_is_written_down_anywhere(run: Run) -> None:
    """A token's signature is looked for too: it is what makes a cut or decorated copy of it a secret."""
    found = {
        f"{name} in {place}"
        for place, text in run.written.items()
        for name, secret in run.secrets.items()
        if (secret in text or secret.rpartition(".")[2] in text) and not (name == "chat" and place == "monitor")
    }

    assert found == set()


def test_chat_goes_through_valkey_only_as_a_frame_that_is_told_and_forgotten(run: Run) -> None:
    with_chat = [line for line in run.written["monitor"].splitlines() if CHAT in line]

    assert with_chat
    assert {line.split()[0] for line in with_chat} == {"PUBLISH"}
