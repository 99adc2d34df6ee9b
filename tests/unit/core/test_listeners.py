"""Listeners: other capabilities' reactions, inside the transaction."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from shared.core import listeners
from shared.core.ids import new_id
from shared.core.listeners import listens_to
from shared.core.messages import Event
from shared.core.transaction import Transaction
from shared.core.vitals import sign, vitals
from shared.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class KettleBoiled(Event):
    litres: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BigKettleBoiled(KettleBoiled):
    pass


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What was heard; listeners that a test registers are gone after it."""
    heard: list[str] = []
    yield heard
    for event_type in (KettleBoiled, BigKettleBoiled):
        listeners._LISTENERS.pop(event_type, None)


def test_listeners_run_at_once_in_the_order_of_their_registration(runtime: Runtime, heard: list[str]) -> None:
    @listens_to(KettleBoiled)
    def pour(_tx: Transaction, event: KettleBoiled) -> None:
        heard.append(f"pour {event.litres}")

    @listens_to(KettleBoiled)
    def drink(_tx: Transaction, event: KettleBoiled) -> None:
        heard.append(f"drink {event.litres}")

    with runtime.transaction() as tx:
        assert tx.emit(KettleBoiled(litres=2)) is None
        assert heard == ["pour 2", "drink 2"]


def test_a_listener_hears_its_own_type_of_event_only(runtime: Runtime, heard: list[str]) -> None:
    listens_to(KettleBoiled)(lambda _tx, event: heard.append("any"))

    with runtime.transaction() as tx:
        tx.emit(BigKettleBoiled(litres=9))

    assert heard == []


def test_an_event_without_listeners_is_fine(runtime: Runtime) -> None:
    with runtime.transaction() as tx:
        tx.emit(KettleBoiled(litres=1))


def test_registering_leaves_the_function_usable(heard: list[str]) -> None:
    def pour(_tx: Transaction, _event: KettleBoiled) -> None:
        """Pour."""

    assert listens_to(KettleBoiled)(pour) is pour


def test_a_listener_that_fails_undoes_the_whole_transaction(runtime: Runtime, heard: list[str]) -> None:
    @listens_to(KettleBoiled)
    def break_(_tx: Transaction, _event: KettleBoiled) -> None:
        raise RuntimeError("no cups")

    name = new_id()

    def boil() -> None:
        with runtime.transaction() as tx:
            sign(tx.connection, name, tx.now)
            tx.emit(KettleBoiled(litres=1))

    with pytest.raises(RuntimeError, match="no cups"):
        boil()
    with runtime.reading() as tx:
        assert tx.first(vitals.select().where(vitals.c.name == name)) is None
