"""Idempotency keys: one effect and one answer."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import exc, func, select

from shared.core import idempotency, locks
from shared.core.database import LockTimeout
from shared.core.errors import IdempotencyInProgress, IdempotencyKeyReused
from shared.core.idempotency import (
    KEEP,
    KeyTaken,
    Request,
    StoredAnswer,
    begin,
    finish,
    finish_all,
    is_in_work,
    keep,
    recall,
    telling_keys,
    used,
)
from shared.core.ids import new_id
from shared.core.keyring import Keyring
from shared.core.transaction import Transaction
from shared.runtime import Runtime
from tests.fakes.clock import FakeClock

ANSWER = StoredAnswer(201, b'{"data": 1}')


@pytest.fixture
def request_() -> Request:
    """A request that nobody has sent before."""
    return Request(caller=new_id(), path="/api/v1/meetings", key="k1", body=b'{"title":"A"}')


def once(runtime: Runtime, wanted: Request, answer: StoredAnswer = ANSWER) -> StoredAnswer | None:
    """Do a request; return what was stored before, None when it was done now."""
    with runtime.transaction() as tx:
        stored = begin(tx, wanted)
        if stored is None:
            finish(tx, wanted, answer)
    return stored


def test_the_second_time_the_first_answer_is_given(timed: Runtime, request_: Request):
    assert once(timed, request_) is None
    assert once(timed, request_, StoredAnswer(500, b"other")) == ANSWER


def test_another_body_under_the_same_key_is_refused(timed: Runtime, request_: Request):
    once(timed, request_)
    with pytest.raises(IdempotencyKeyReused):
        once(timed, replace(request_, body=b'{"title":"B"}'))
    assert once(timed, request_) == ANSWER


@pytest.mark.parametrize("other", [{"caller": "somebody else"}, {"path": "/api/v1/other"}, {"key": "k2"}])
def test_another_caller_path_or_key_is_another_request(timed: Runtime, request_: Request, other: dict[str, str]):
    once(timed, request_)
    assert once(timed, replace(request_, **other, body=new_id().encode() if "caller" in other else b"x")) is None


def test_a_request_that_failed_may_be_sent_again(timed: Runtime, request_: Request):
    def break_off() -> None:
        with timed.transaction() as tx:
            assert begin(tx, request_) is None
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert once(timed, request_) is None


def test_a_key_is_forgotten_after_a_day(timed: Runtime, clock: FakeClock, request_: Request):
    once(timed, request_)
    clock.pass_(hours=24)
    assert once(timed, request_) == ANSWER
    clock.pass_(seconds=1)
    assert once(timed, replace(request_, body=b"new")) is None


def test_expired_keys_are_deleted_some_at_a_time(timed: Runtime, clock: FakeClock, request_: Request):
    for key in ("a", "b", "c"):
        once(timed, replace(request_, key=key))
    clock.pass_(seconds=KEEP.total_seconds() + 1)
    once(timed, replace(request_, key="young"))
    with timed.transaction() as tx:
        assert idempotency.forget_expired(tx, limit=2) == 2
    with timed.transaction() as tx:
        while idempotency.forget_expired(tx):
            pass
    assert once(timed, replace(request_, key="young")) == ANSWER
    assert once(timed, replace(request_, key="a")) is None


def test_the_answer_is_not_readable_in_the_database(timed: Runtime, request_: Request):
    secret = StoredAnswer(200, b'{"access_token": "canary"}')
    once(timed, request_, secret)
    with timed.reading() as tx:
        kept = tx.all(select(idempotency.idempotency_keys.c.answer, idempotency.idempotency_keys.c.digest))
    assert not [row for row in kept if "canary" in (row.answer or "") or request_.caller in row.digest]
    assert once(timed, request_) == secret


def test_after_a_change_of_the_secret_key_an_old_answer_is_refused_and_not_done_again(
    timed: Runtime, request_: Request
):
    once(timed, request_)

    class HalfChanged(Keyring):
        """Finds the old row, as if only its encryption were of another key."""

        def decrypt(self, token: str) -> bytes:
            return Keyring("another key of forty characters, at least").decrypt(token)

    changed = replace(timed, tools=replace(timed.tools, keyring=HalfChanged(timed.settings.secret_key)))
    with pytest.raises(IdempotencyKeyReused, match="SECRET_KEY"):
        once(changed, request_)


def _count_effect(tx: Transaction, name: str) -> int:
    return int(tx.scalar(select(func.count()).where(locks.leases.c.name == name)))


def test_s60_of_five_at_once_one_has_the_effect_and_all_have_its_answer(timed: Runtime, request_: Request):
    answers: list[StoredAnswer] = []

    def send() -> None:
        with timed.transaction() as tx:
            stored = begin(tx, request_)
            if stored is None:
                locks.take(tx, request_.caller, 10)
                stored = StoredAnswer(201, new_id().encode())
                finish(tx, request_, stored)
        answers.append(stored)

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 5
    assert len(set(answers)) == 1
    with timed.reading() as tx:
        assert _count_effect(tx, request_.caller) == 1


def test_s60_while_the_first_runs_the_second_waits_or_is_told_so(timed: Runtime, request_: Request):
    """PostgreSQL gives up after two seconds; SQLite has one writer, so the second waits for its end."""
    outcome: list[object] = []

    def send() -> None:
        try:
            outcome.append(once(timed, request_))
        except IdempotencyInProgress as refused:
            outcome.append(refused.code)

    second = threading.Thread(target=send)
    with timed.transaction() as tx:
        assert begin(tx, request_) is None
        second.start()
        second.join(2.6)
        finish(tx, request_, ANSWER)
    second.join()
    assert outcome == ([ANSWER] if timed.database.is_sqlite else ["IDEMPOTENCY_IN_PROGRESS"])
    assert once(timed, request_) == ANSWER


def test_a_database_error_that_is_no_waiting_is_not_taken_for_it(
    timed: Runtime, request_: Request, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise exc.ProgrammingError("INSERT", None, ValueError("a bug"))

    monkeypatch.setattr(Transaction, "scalar", fail)
    with pytest.raises(exc.ProgrammingError), timed.transaction() as tx:
        begin(tx, request_)


def keep_once(runtime: Runtime, request: Request, answer: str) -> bool:
    """Do work that ends with `keep`; tell whether it stayed."""
    try:
        with telling_keys(), runtime.transaction() as tx:
            locks.take(tx, f"{request.caller} {answer}", 10)
            keep(tx, request, answer)
    except KeyTaken:
        return False
    return True


def test_of_two_that_keep_an_answer_the_second_is_undone_and_recalls_the_first(timed: Runtime, request_: Request):
    assert keep_once(timed, request_, "one")
    assert not keep_once(timed, request_, "two")
    with timed.reading() as tx:
        assert recall(tx, request_) == "one"
        assert _count_effect(tx, f"{request_.caller} one") == 1
        assert _count_effect(tx, f"{request_.caller} two") == 0
        with pytest.raises(IdempotencyKeyReused):
            recall(tx, replace(request_, body=b"another"))
        assert recall(tx, replace(request_, key="another")) is None


def test_a_kept_answer_is_forgotten_after_a_day(timed: Runtime, clock: FakeClock, request_: Request):
    assert keep_once(timed, request_, "old")
    clock.pass_(hours=24, seconds=1)
    with timed.reading() as tx:
        assert recall(tx, request_) is None
    assert keep_once(timed, request_, "new")
    with timed.reading() as tx:
        assert recall(tx, request_) == "new"


def finish_both(runtime: Runtime, *requests: Request) -> bool:
    """Do several requests that end with `finish_all`; tell whether they stayed."""
    try:
        with telling_keys(), runtime.transaction() as tx:
            locks.take(tx, requests[0].caller, 10)
            finish_all(tx, [(request, ANSWER) for request in requests])
    except KeyTaken:
        return False
    return True


@pytest.mark.parametrize("how_many", [1, 2, 5])
def test_of_requests_that_share_a_transaction_one_with_a_used_key_undoes_all(
    timed: Runtime, clock: FakeClock, request_: Request, how_many: int
) -> None:
    requests = [replace(request_, key=f"k{n}") for n in range(how_many)]
    assert once(timed, requests[-1]) is None
    assert not finish_both(timed, *requests)
    with timed.reading() as tx:
        assert used(tx, requests) == {requests[-1]}
        assert used(tx, []) == set()
        assert _count_effect(tx, request_.caller) == 0
    clock.pass_(hours=24, seconds=1)
    with timed.reading() as tx:
        assert used(tx, requests) == set()
    assert finish_both(timed, *requests)
    assert [once(timed, request) for request in requests] == [ANSWER] * how_many


def test_a_key_that_stands_twice_in_a_transaction_undoes_it(timed: Runtime, request_: Request) -> None:
    assert not finish_both(timed, request_, replace(request_, body=b"another"))
    assert finish_both(timed, request_, replace(request_, key="another"))


def test_another_rule_that_is_broken_is_not_taken_for_a_key(timed: Runtime, request_: Request) -> None:
    def break_a_rule() -> None:
        with telling_keys(), timed.transaction() as tx:
            keep(tx, request_, "idempotency_keys")
            tx.insert_later(locks.leases, [{"name": "idempotency_keys", "until": None}])

    with pytest.raises(exc.IntegrityError, match="leases"):
        break_a_rule()


@pytest.mark.postgres_only
@pytest.mark.parametrize("is_a_key", [True, False], ids=["a key", "another row"])
def test_who_waits_in_vain_is_told_whether_for_a_key(timed: Runtime, request_: Request, is_a_key: bool) -> None:
    def wait() -> None:
        with telling_keys(), timed.transaction() as tx:
            if not is_a_key:
                locks.take(tx, request_.caller, 1)
            finish_all(tx, [(request_, ANSWER)])

    with timed.transaction() as tx:
        begin(tx, request_)
        locks.take(tx, request_.caller, 1)
        with pytest.raises(LockTimeout) as held:
            wait()
    assert is_in_work(held.value) is is_a_key
