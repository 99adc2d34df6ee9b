"""A broker without Redis, for unit tests: same protocol, delivers to listeners in the calling thread."""

from collections.abc import Callable


class MemoryBroker:
    """Keeps what was published; can be told to lose everything, as a broken Redis would."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []
        self.listeners: list[Callable[[str, bytes], None]] = []
        self.broken = False

    @property
    def healthy(self) -> bool:
        """Tell whether messages get through."""
        return not self.broken

    def publish(self, channel: str, message: bytes) -> None:
        """Deliver to all listeners, or lose the message when broken."""
        if self.broken:
            return
        self.published.append((channel, message))
        for listener in self.listeners:
            listener(channel, message)
