"""The driver under gevent: greenlets wait for PostgreSQL side by side, and none of them for ever.

A process is patched as a whole or not at all, so each test runs a small program of its own.
"""

from collections.abc import Callable, Iterator

import pytest

from dev.postgres import Postgres
from tests.factories.patched import run_patched

pytestmark = pytest.mark.once  # has a server of its own

SOON_SECONDS = 20.0  # a program that still runs then has been hanging

BEGINNING = """
from gevent import monkey
monkey.patch_all()
import gevent, os, psycopg, signal, sys, threading, time
from shared.core.postgresql import ImpatientConnection

def connect():
    return ImpatientConnection.connect(sys.argv[1], autocommit=True)

def what_it_raises(work, *arguments):
    try:
        work(*arguments)
    except BaseException as raised:
        return raised

connection = connect()
began = time.monotonic()
"""

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def run(postgres: Postgres) -> Run:
    """Run a program in a patched process and return what it prints."""

    def run(program: str) -> str:
        url = postgres.url.replace("+psycopg", "")
        return run_patched(BEGINNING + program, url, seconds=SOON_SECONDS)

    return run


def test_an_answer_is_an_answer(run: Run) -> None:
    assert run("print(connection.execute('SELECT 1 + 1').fetchone())") == "(2,)"


def test_an_answer_that_comes_in_many_pieces_is_whole(run: Run) -> None:
    program = """
rows = connection.execute("SELECT repeat('x', 1000) FROM generate_series(1, 30000)").fetchall()
sent = connection.execute("SELECT length(%s)", ["y" * 30_000_000]).fetchone()
print(len(rows), {len(row[0]) for row in rows}, sent)
"""
    assert run(program) == "30000 {1000} (30000000,)"


def test_others_run_meanwhile(run: Run) -> None:
    program = """
sleepers = [connect() for _ in range(8)]
began = time.monotonic()
greenlets = [gevent.spawn(each.execute, "SELECT pg_sleep(0.3)") for each in sleepers]
gevent.joinall(greenlets, raise_error=True)
print(time.monotonic() - began)
"""
    assert float(run(program)) < 1


def test_a_connection_may_be_used_in_one_greenlet_and_thread_after_another(run: Run) -> None:
    program = """
def use():
    answers.append(connection.execute("SELECT pg_sleep(0.05), 7").fetchone()[1])

answers = []
use()
gevent.spawn(use).join()
gevent.get_hub().threadpool.apply(use)
use()
print(answers)
"""
    assert run(program) == "[7, 7, 7, 7]"


def test_patience_ends(run: Run) -> None:
    program = """
connection.patience = 0.2
raised = what_it_raises(connection.execute, "SELECT pg_sleep(30)")
print(type(raised).__name__, raised, connection.closed, time.monotonic() - began < 2)
"""
    assert run(program) == "OperationalError the server did not answer within 0.2 s True True"


def test_what_came_in_time_is_taken_even_when_the_process_was_too_busy_to_look(run: Run) -> None:
    program = """
connection.patience = 0.5
def be_busy():
    until = time.monotonic() + 1
    while time.monotonic() < until:
        pass

gevent.spawn_later(0.05, be_busy)
print(connection.execute("SELECT pg_sleep(0.2), 7").fetchone()[1])
"""
    assert run(program) == "7"


def test_without_a_limit_it_waits(run: Run) -> None:
    program = """
connection.patience = None
print(connection.execute("SELECT pg_sleep(0.3), 7").fetchone()[1])
"""
    assert run(program) == "7"


def test_a_wait_with_a_limit_of_its_own_keeps_that_and_the_connection(run: Run) -> None:
    program = """
connection.patience = 0.1
print(list(connection.notifies(timeout=0.3)), connection.closed)
"""
    assert run(program) == "[] False"


def test_a_server_process_that_is_killed_ends_the_wait(run: Run) -> None:
    program = """
gevent.spawn_later(0.2, os.kill, connection.info.backend_pid, signal.SIGKILL)
raised = what_it_raises(connection.execute, "SELECT pg_sleep(30)")
print(isinstance(raised, psycopg.OperationalError), connection.closed, time.monotonic() - began < 2)
"""
    assert run(program) == "True True True"


@pytest.mark.parametrize("close", ["connection.pgconn.finish", "lambda: os.close(connection.pgconn.socket)"])
def test_a_socket_that_somebody_closes_ends_the_wait(run: Run, close: str) -> None:
    program = f"""
gevent.spawn_later(0.2, {close})
raised = what_it_raises(connection.execute, "SELECT pg_sleep(30)")
print(isinstance(raised, psycopg.OperationalError), time.monotonic() - began < 2)
"""
    assert run(program) == "True True"


@pytest.mark.parametrize("interruption", ["gevent.GreenletExit", "KeyboardInterrupt", "gevent.Timeout"])
def test_an_answer_nobody_waited_for_is_not_given_to_the_next_statement(run: Run, interruption: str) -> None:
    program = f"""
waiting = gevent.spawn(what_it_raises, connection.execute, "SELECT pg_sleep(0.5), 'old'")
gevent.sleep(0.2)
waiting.kill({interruption})
print(type(waiting.value) is {interruption}, connection.closed)
"""
    assert run(program) == "True True"
