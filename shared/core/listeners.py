"""Listeners: what one capability does, in the same transaction, when another one's event happened."""

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from shared.core.messages import Event

if TYPE_CHECKING:
    from shared.core.transaction import Transaction

E = TypeVar("E", bound=Event)
Listener = Callable[["Transaction", E], None]

_LISTENERS: dict[type[Event], list[Listener[Any]]] = defaultdict(list)


def listens_to(event_type: type[E]) -> Callable[[Listener[E]], Listener[E]]:
    """Register a function `(tx, event)` to run whenever an event of exactly this type is emitted."""

    def register(listener: Listener[E]) -> Listener[E]:
        _LISTENERS[event_type].append(listener)
        return listener

    return register


def tell(tx: "Transaction", event: Event) -> None:
    """Run the listeners of `event` in the order of their registration."""
    for listener in _LISTENERS.get(type(event), ()):
        listener(tx, event)
