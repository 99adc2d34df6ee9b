"""The embedded servers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis

from dev import postgres as postgres_module
from dev.postgres import Postgres
from dev.process import LOOPBACK, free_port, port_is_free
from dev.valkey import Valkey, ValkeyDidNotStart

pytestmark = pytest.mark.once

PROJECT = Path(__file__).resolve().parents[3]


def connect(postgres: Postgres, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(postgres.url_of(database).replace("+psycopg", ""), autocommit=True)


def test_valkey_answers_and_leaves_nothing_behind() -> None:
    with Valkey() as valkey:
        directory = valkey._directory
        assert directory is not None
        with redis.Redis.from_url(valkey.url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert not directory.exists()
    assert port_is_free(LOOPBACK, valkey.port)


def test_valkey_with_appendonly_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path, port=free_port(), appendonly=True)
    with valkey, redis.Redis.from_url(valkey.url) as client:
        client.set("kept", "yes")
    with valkey, redis.Redis.from_url(valkey.url) as client:
        assert client.get("kept") == b"yes"


def test_valkey_says_when_its_port_is_taken() -> None:
    with Valkey() as first, pytest.raises(ValkeyDidNotStart, match=str(first.port)):
        Valkey(port=first.port).start()


def test_postgres_makes_empty_databases_and_keeps_commits_synchronous() -> None:
    with Postgres() as postgres:
        assert postgres.create_database("one").startswith("postgresql+psycopg://")
        with connect(postgres, "one") as connection:
            settings = connection.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
            assert settings.fetchone() == ("off", "on")
            assert connection.execute("SELECT lower('ÀÉ')").fetchone() == ("àé",)
        scratch = postgres._scratch
    assert scratch is not None
    assert not scratch.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the user")
def test_postgres_of_root_runs_as_nobody_also_from_a_private_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_module, "_open_to_others", lambda program: False)
    with Postgres() as postgres:
        assert postgres.process is not None
        status = Path(f"/proc/{postgres.process.pid}/status").read_text()
        assert "\nUid:\t0\t" not in status
        copied = postgres._scratch
        assert copied is not None
        assert f"{copied}/programs" in Path(f"/proc/{postgres.process.pid}/cmdline").read_text()


def test_servers_die_with_a_killed_parent() -> None:
    script = """
import time
from dev.postgres import Postgres
from dev.valkey import Valkey
valkey, postgres = Valkey().start(), Postgres().start()
print(valkey.process.pid, postgres.process.pid, valkey._directory, postgres._scratch, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        *pids, valkey_directory, scratch = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.02)
    subprocess.run(["rm", "-rf", valkey_directory, scratch], check=True)
