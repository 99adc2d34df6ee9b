"""What ends a transaction leaves in one go: with threads and under gevent, each in a process of its own."""

from collections.abc import Callable, Iterator

import pytest

from dev.postgres import Postgres
from tests.factories.patched import run_patched
from tests.fakes.withholding import Withholding

pytestmark = pytest.mark.once  # has a server of its own

SOON_SECONDS = 20.0  # a program that still runs then has been hanging

BEGINNING = """
import os, signal, sys, threading, time, psycopg
from shared.core.postgresql import ImpatientConnection

def connect():
    connection = ImpatientConnection.connect(sys.argv[1])
    connection.patience = 2.0
    return connection

def failure(work, *arguments):
    try:
        work(*arguments)
    except psycopg.Error as raised:
        return type(raised).__name__

def insert(connection, *numbers):
    for number in numbers:
        connection.execute("INSERT INTO queued VALUES (%s)", [number])

def found(connection):
    numbers = [row[0] for row in connection.execute("SELECT n FROM queued ORDER BY n")]
    connection.rollback()
    return numbers

connection = connect()
connection.execute("CREATE TABLE IF NOT EXISTS queued (n int PRIMARY KEY)")
connection.execute("TRUNCATE queued")
connection.commit()
connection.execute("SELECT 1")
connection.queue()
"""

PATCH = "from gevent import monkey\nmonkey.patch_all()\n"

Run = Callable[..., str]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(params=["threads", "gevent"])
def run(request: pytest.FixtureRequest, postgres: Postgres) -> Run:
    """Run a program in a process of that kind, at `port` if it is given, and return what it prints."""

    def run(program: str, port: int = postgres.port) -> str:
        url = postgres.url.replace("+psycopg", "").replace(f":{postgres.port}/", f":{port}/")
        return run_patched(
            (PATCH if request.param == "gevent" else "") + BEGINNING + program, url, seconds=SOON_SECONDS
        )

    return run


def test_no_answer_is_waited_for_before_the_commit(run: Run, postgres: Postgres) -> None:
    program = """
insert(connection, 1, 2, 3)
connection.commit()
print(found(connect()), found(connection))
"""
    with Withholding(postgres.port) as way:
        assert run(program, way.port) == "[1, 2, 3] [1, 2, 3]"


def test_without_a_queue_each_answer_is_waited_for(run: Run, postgres: Postgres) -> None:
    program = """
connection.commit()
print(failure(insert, connection, 1))
"""
    with Withholding(postgres.port) as way:
        assert run(program, way.port) == "OperationalError"


def test_many_statements_are_one_transaction(run: Run) -> None:
    program = """
insert(connection, *range(2000))
connection.commit()
print(len(found(connection)))
"""
    assert run(program) == "2000"


def test_the_commit_says_what_failed_first_and_nothing_of_it_has_happened(run: Run) -> None:
    program = """
insert(connection, 1, 2, 2, 3)
connection.execute("SELECT 1/0")
print(failure(connection.commit), failure(connection.rollback), found(connection))
"""
    assert run(program) == "UniqueViolation None []"


def test_after_a_failure_the_connection_is_as_good_as_before(run: Run) -> None:
    program = """
said = []
for number in range(20):  # prepared meanwhile
    insert(connection, number, number)
    said.append(failure(connection.commit))
    connection.rollback()
    insert(connection, number)
    connection.commit()
    connection.execute("SELECT 1")
    connection.queue()
connection.rollback()
print({*said}, found(connection) == [*range(20)])
"""
    assert run(program) == "{'UniqueViolation'} True"


def test_what_is_queued_can_be_undone(run: Run) -> None:
    program = """
for number in range(20):  # prepared meanwhile, or not
    insert(connection, *[1] * number)
    connection.rollback()
    insert(connection, 100 + number)
    connection.commit()
    connection.execute("SELECT 1")
    connection.queue()
connection.rollback()
print(found(connection) == [*range(100, 120)])
"""
    assert run(program) == "True"


def test_before_the_first_statement_nothing_is_kept_back(run: Run) -> None:
    program = """
connection.commit()
connection.queue()
insert(connection, 1)
print(found(connection), found(connect()))
connection.queue()
insert(connection, 2)
connection.commit()
print(found(connect()))
"""
    assert run(program) == "[1] []\n[2]"


def test_however_much_it_is_it_leaves(run: Run) -> None:
    program = """
for number in range(2000):
    connection.execute("INSERT INTO queued SELECT length(%s) + %s", ["x" * 20_000, number])
connection.commit()
print(len(found(connection)))
"""
    assert run(program) == "2000"


def test_who_stops_before_the_commit_does_not_keep_what_is_locked(run: Run) -> None:
    program = """
connection.execute("SET idle_in_transaction_session_timeout = '200ms'")
connection.commit()
connection.execute("SELECT 1")
connection.queue()
insert(connection, 1)
time.sleep(0.6)
print(failure(connection.commit) is None, found(connect()))
"""
    assert run(program) == "False []"


def test_one_queue_after_the_other(run: Run) -> None:
    program = """
for number in range(20):
    insert(connection, number)
    connection.commit()
    connection.execute("SELECT 1").fetchone()
    connection.queue()
connection.commit()
print(len(found(connection)))
"""
    assert run(program) == "20"


def test_a_server_process_that_is_killed_ends_the_commit(run: Run) -> None:
    program = """
insert(connection, 1)
connection.execute("SELECT pg_sleep(30)")
threading.Timer(0.2, os.kill, [connection.info.backend_pid, signal.SIGTERM]).start()
print(failure(connection.commit), connection.closed, found(connect()))
"""
    assert run(program) in ("AdminShutdown True []", "OperationalError True []")


def test_a_queue_within_a_queue_is_the_same_one(run: Run) -> None:
    program = """
insert(connection, 1)
connection.queue()
insert(connection, 2)
with connection.pipeline():
    insert(connection, 3)
insert(connection, 4)
connection.commit()
print(found(connection))
"""
    assert run(program) == "[1, 2, 3, 4]"


def test_a_failure_that_somebody_overheard_is_still_one_of_the_commit(run: Run) -> None:
    program = """
insert(connection, 1, 1)
print(failure(lambda: connection.pipeline().__enter__()), failure(connection.commit), failure(connection.rollback))
print(found(connection))
"""
    assert run(program) == "UniqueViolation UniqueViolation None\n[]"


def test_a_commit_that_fails_itself_is_said_and_the_connection_is_as_good_as_before(run: Run) -> None:
    program = """
said = []
for number in range(10):
    connection.execute("CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP")
    for _ in range(2):
        connection.execute("INSERT INTO late VALUES (1)")
    insert(connection, number)
    said.append(failure(connection.commit))
    connection.rollback()
    insert(connection, 100 + number)
    connection.commit()
    connection.execute("SELECT 1")
    connection.queue()
connection.rollback()
print({*said}, found(connection) == [*range(100, 110)])
"""
    assert run(program) == "{'UniqueViolation'} True"


def test_who_is_interrupted_at_the_commit_leaves_no_answer_behind(run: Run) -> None:
    program = """
def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
connection.execute("SELECT pg_sleep(0.6)")
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    connection.commit()
except KeyboardInterrupt:
    print("interrupted", connection.closed or connection.info.pipeline_status.name)
"""
    assert run(program) in ("interrupted True", "interrupted OFF")


def test_patience_ends(run: Run) -> None:
    program = """
connection.patience = 0.2
connection.execute("SELECT pg_sleep(5)")
print(failure(connection.commit), connection.closed)
"""
    assert run(program) == "OperationalError True"
