"""Accounts and sessions."""

import threading

import pytest
from sqlalchemy import select, update

from shared.core.ids import new_id
from shared.identity import service
from shared.identity.errors import EmailTaken, InvalidCredentials, TokenRevoked
from shared.identity.models import refresh_tokens, sessions, users
from shared.identity.service import Session
from shared.realtime import orders
from shared.runtime import Runtime
from tests.fakes.clock import FakeClock


@pytest.fixture
def email() -> str:
    """An address that nobody has."""
    return f"{new_id()}@Example.com"


@pytest.fixture
def session(timed: Runtime, email: str) -> Session:
    """The session of a new account."""
    with timed.transaction() as tx:
        return service.register(tx, email, "Ada", "a hash")


def refresh(runtime: Runtime, session_id: str, refresh_id: str) -> Session | None:
    with runtime.transaction() as tx:
        return service.refresh(tx, session_id, refresh_id)


def is_alive(runtime: Runtime, session_id: str) -> bool:
    with runtime.reading() as tx:
        alive = service.find_actor(tx, session_id) is not None
        assert service.ended_sessions(tx, [session_id]) == (set() if alive else {session_id})
    return alive


def close_account(runtime: Runtime, user_id: str) -> None:
    with runtime.transaction() as tx:
        tx.execute(update(users).where(users.c.id == user_id).values(is_active=False))


# --- accounts -------------------------------------------------------------------------------------------------------


def test_a_registered_person_has_a_session_and_is_its_actor(timed: Runtime, session: Session, email: str):
    with timed.reading() as tx:
        actor = service.find_actor(tx, session.session_id)
    assert actor is not None
    assert (actor.user_id, actor.email, actor.name) == (session.user_id, email.lower(), "Ada")
    assert actor.session_id == session.session_id


def test_an_address_has_one_account_whatever_its_case(timed: Runtime, session: Session, email: str):
    for again in (email, email.lower(), email.upper()):
        with pytest.raises(EmailTaken), timed.transaction() as tx:
            service.register(tx, again, "Eve", "another hash")
    with timed.reading() as tx:
        assert service.password_hash_of(tx, email) == "a hash"


def test_s61_of_many_registrations_at_once_one_makes_the_account(timed: Runtime, email: str):
    outcome: list[str] = []

    def register() -> None:
        try:
            with timed.transaction() as tx:
                service.register(tx, email, "Ada", "a hash")
            outcome.append("made")
        except EmailTaken:
            outcome.append("taken")

    threads = [threading.Thread(target=register) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome) == ["made"] + ["taken"] * 4


def test_a_password_hash_is_known_for_active_accounts_only(timed: Runtime, session: Session, email: str):
    with timed.reading() as tx:
        assert service.password_hash_of(tx, email.upper()) == "a hash"
        assert service.password_hash_of(tx, f"not-{email}") is None
    close_account(timed, session.user_id)
    with timed.reading() as tx:
        assert service.password_hash_of(tx, email) is None


def test_a_login_opens_another_session(timed: Runtime, session: Session, email: str):
    with timed.transaction() as tx:
        second = service.open_session(tx, email.upper())
    assert second.user_id == session.user_id
    assert second.session_id != session.session_id
    assert is_alive(timed, session.session_id)
    assert is_alive(timed, second.session_id)


def test_an_account_that_is_gone_opens_no_session(timed: Runtime, session: Session, email: str):
    close_account(timed, session.user_id)
    for address in (email, f"not-{email}"):
        with pytest.raises(InvalidCredentials), timed.transaction() as tx:
            service.open_session(tx, address)


# --- refreshing -----------------------------------------------------------------------------------------------------


def test_a_refresh_token_is_replaced_each_time(timed: Runtime, session: Session):
    second = refresh(timed, session.session_id, session.refresh_id)
    assert second is not None
    assert (second.session_id, second.user_id) == (session.session_id, session.user_id)
    assert second.refresh_id != session.refresh_id
    third = refresh(timed, second.session_id, second.refresh_id)
    assert third is not None
    assert third.refresh_id not in (session.refresh_id, second.refresh_id)


def test_s06_a_refresh_token_used_twice_ends_the_whole_family(timed: Runtime, session: Session, email: str):
    with timed.transaction() as tx:
        other = service.open_session(tx, email)
    second = refresh(timed, session.session_id, session.refresh_id)
    assert second is not None
    assert refresh(timed, session.session_id, session.refresh_id) is None
    assert not is_alive(timed, session.session_id)
    with pytest.raises(TokenRevoked):
        refresh(timed, second.session_id, second.refresh_id)
    assert is_alive(timed, other.session_id), "another session of the same person is another family"


def test_s06_a_refresh_token_of_another_session_ends_the_session_it_was_tried_on(
    timed: Runtime, session: Session, email: str
):
    with timed.transaction() as tx:
        other = service.open_session(tx, email)
    assert refresh(timed, session.session_id, other.refresh_id) is None
    assert not is_alive(timed, session.session_id)
    assert refresh(timed, other.session_id, other.refresh_id) is not None


def test_s06_of_two_refreshes_at_once_one_gets_a_token_and_the_family_ends(timed: Runtime, session: Session):
    outcome: list[bool] = []

    def use() -> None:
        try:
            outcome.append(refresh(timed, session.session_id, session.refresh_id) is not None)
        except TokenRevoked:
            outcome.append(False)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome) == [False, True]
    assert not is_alive(timed, session.session_id)


def test_refreshing_keeps_a_session_alive_and_silence_ends_it(timed: Runtime, clock: FakeClock, session: Session):
    length = timed.settings.refresh_token_ttl
    clock.pass_(seconds=length - 1)
    second = refresh(timed, session.session_id, session.refresh_id)
    assert second is not None
    clock.pass_(seconds=length - 1)
    assert is_alive(timed, session.session_id)
    clock.pass_(seconds=1)
    assert not is_alive(timed, session.session_id)
    with pytest.raises(TokenRevoked):
        refresh(timed, second.session_id, second.refresh_id)


@pytest.mark.parametrize("session_id", ["", "nonsense", "01HX3M6P2K8Z4Q7R9T1V5W0Y2A"])
def test_a_session_that_never_was_is_not_refreshed(timed: Runtime, session_id: str):
    with pytest.raises(TokenRevoked):
        refresh(timed, session_id, new_id())


# --- ending ---------------------------------------------------------------------------------------------------------


def test_s07_a_revoked_session_has_no_actor_from_the_commit_on(timed: Runtime, session: Session):
    with timed.transaction() as tx:
        service.revoke(tx, session.session_id, "logout")
        assert tx.orders == [orders.end_session(session.session_id)]
    assert not is_alive(timed, session.session_id)


def test_a_session_is_revoked_once_and_keeps_its_reason(timed: Runtime, clock: FakeClock, session: Session):
    with timed.transaction() as tx:
        service.revoke(tx, session.session_id, "logout")
    first = clock.now()
    clock.pass_(hours=1)
    with timed.transaction() as tx:
        service.revoke(tx, session.session_id, "something else")
        row = tx.first(select(sessions).where(sessions.c.id == session.session_id))
    assert row is not None
    assert (row.revoked_why, row.revoked_at) == ("logout", first)


def test_s07_closing_an_account_ends_its_sessions(timed: Runtime, session: Session):
    close_account(timed, session.user_id)
    assert not is_alive(timed, session.session_id)
    with pytest.raises(TokenRevoked):
        refresh(timed, session.session_id, session.refresh_id)


def test_of_many_sessions_those_that_are_over_are_named(timed: Runtime, session: Session, email: str):
    with timed.transaction() as tx:
        alive, dead = service.open_session(tx, email), service.open_session(tx, email)
        service.revoke(tx, dead.session_id, "logout")
    unknown = new_id()
    with timed.reading() as tx:
        asked = [session.session_id, alive.session_id, dead.session_id, unknown]
        assert service.ended_sessions(tx, asked) == {dead.session_id, unknown}
        assert service.ended_sessions(tx, []) == set()


def test_sessions_are_forgotten_a_day_after_their_end_with_their_tokens(
    timed: Runtime, clock: FakeClock, session: Session, email: str
):
    def exists(session_id: str) -> tuple[bool, bool]:
        with timed.reading() as tx:
            return (
                tx.first(select(sessions.c.id).where(sessions.c.id == session_id)) is not None,
                tx.first(select(refresh_tokens.c.id).where(refresh_tokens.c.session_id == session_id)) is not None,
            )

    def forget() -> None:
        with timed.transaction() as tx:
            while service.forget_expired(tx, limit=1):
                pass

    with timed.transaction() as tx:
        revoked = service.open_session(tx, email)
        service.revoke(tx, revoked.session_id, "logout")
    clock.pass_(days=1)
    forget()
    assert exists(revoked.session_id) == (True, True)
    clock.pass_(seconds=1)
    forget()
    assert exists(revoked.session_id) == (False, False)
    assert exists(session.session_id) == (True, True)
    clock.pass_(seconds=timed.settings.refresh_token_ttl - 1)  # which is a day after it expired
    forget()
    assert exists(session.session_id) == (True, True)
    clock.pass_(seconds=1)
    forget()
    assert exists(session.session_id) == (False, False)
