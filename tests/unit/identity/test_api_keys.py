"""API keys as rows: what is kept of them, how they are found, and when they are forgotten."""

import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import exc, select

from shared.core.errors import DomainError
from shared.identity import api_keys
from shared.identity.api_keys import KEEP, USED_GRAIN, ApiKey
from shared.identity.errors import TokenExpired, TokenRevoked, Unauthenticated
from shared.identity.models import api_keys as table
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock


def make(runtime: Runtime, *, seconds: int | None = None) -> tuple[ApiKey, str]:
    owner = Scene(runtime).user("Olga Owner")
    with runtime.transaction() as tx:
        expires_at = None if seconds is None else tx.now + timedelta(seconds=seconds)
        return api_keys.create(tx, owner.user_id or "", "Server", ["chat:read"], expires_at)


def find(runtime: Runtime, text: str) -> ApiKey:
    with runtime.reading() as tx:
        return api_keys.get_key(tx, text)


def owner_of(runtime: Runtime, key: ApiKey) -> str:
    with runtime.reading() as tx:
        return api_keys.get_owner(tx, key.id).name


def refusals(runtime: Runtime, key: ApiKey, text: str) -> set[type[DomainError]]:
    """Return how both looks at a key refuse it."""
    found = set()
    for look in (lambda: find(runtime, text), lambda: owner_of(runtime, key)):
        with pytest.raises(DomainError) as refused:
            look()
        found.add(type(refused.value))
    return found


def test_a_key_is_found_by_what_was_shown_and_only_its_digest_is_kept(timed: Runtime) -> None:
    key, text = make(timed)
    assert find(timed, text) == key
    assert owner_of(timed, key) == "Olga Owner"
    with timed.reading() as tx:
        row = tx.first(select(table).where(table.c.id == key.id))
    assert row is not None
    assert row.digest == hashlib.sha256(text.encode()).hexdigest()
    assert text.removeprefix(row.prefix)[1:] not in repr(row)


def test_no_two_keys_have_anything_in_common(timed: Runtime) -> None:
    made = [make(timed) for _ in range(20)]
    assert len({key.prefix for key, _ in made}) == 20
    assert len({text[20:] for _, text in made}) == 20
    with pytest.raises(Unauthenticated):  # the beginning of one with the secret of another
        find(timed, made[0][0].prefix + made[1][1].removeprefix(made[1][0].prefix))


def test_a_key_ends_with_its_time_to_the_moment(timed: Runtime, clock: FakeClock) -> None:
    key, text = make(timed, seconds=60)
    clock.pass_(seconds=59.9)
    find(timed, text)
    clock.pass_(seconds=0.1)
    assert refusals(timed, key, text) == {TokenExpired}


def test_a_key_that_ends_before_it_begins_is_refused_by_the_database_too(timed: Runtime) -> None:
    key, _ = make(timed)
    with pytest.raises(exc.IntegrityError), timed.transaction() as tx:
        tx.execute(table.update().where(table.c.id == key.id).values(expires_at=key.created_at))


def test_a_revoked_key_is_remembered_for_a_while_and_then_forgotten(timed: Runtime, clock: FakeClock) -> None:
    (dead, text), (expired, _), (alive, good) = make(timed), make(timed, seconds=60), make(timed)
    with timed.transaction() as tx:
        api_keys.revoke(tx, dead.user_id, dead.id)
    assert refusals(timed, dead, text) == {TokenRevoked}

    def forgotten() -> set[str]:
        with timed.transaction() as tx:
            while api_keys.forget_over(tx):
                pass
            kept = {row.id for row in tx.all(select(table.c.id))}
        return {dead.id, expired.id, alive.id} - kept

    clock.pass_(seconds=KEEP.total_seconds())
    assert forgotten() == set()
    clock.pass_(seconds=61)
    assert forgotten() == {dead.id, expired.id}
    assert refusals(timed, dead, text) == {Unauthenticated, TokenRevoked}
    find(timed, good)


def test_a_use_is_noted_once_in_a_while(timed: Runtime, clock: FakeClock) -> None:
    key, text = make(timed)

    def use() -> ApiKey:
        with timed.transaction() as tx:
            api_keys.note_use(tx, key.id)
        return find(timed, text)

    assert api_keys.is_use_news(key, clock.now())
    first = use()
    assert first.last_used_at == clock.now()
    clock.pass_(seconds=USED_GRAIN.total_seconds() - 1)
    assert not api_keys.is_use_news(first, clock.now())
    assert use() == first
    clock.pass_(seconds=1)
    assert api_keys.is_use_news(first, clock.now())
    assert use().last_used_at == clock.now()
