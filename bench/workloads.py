"""What is done to a server: how many rooms and sockets, who sends what and how fast."""

from dataclasses import dataclass

REACTION, CHAT = "reaction", "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of load. Either `window` (messages under way in a room) or `rate` (messages a second in a room) is set.

    `slow` sockets never read. With `flood` one more sends as fast as it can. With `joins` people join other meetings
    over REST meanwhile. `handshakes` opens and closes sockets as fast as possible and sends nothing.
    """

    name: str
    rooms: int
    size: int
    window: int = 0
    rate: float = 0
    kind: str = REACTION
    senders: int = 1
    seconds: float = 6.0
    warm: float = 1.5
    settle: float = 1.0
    drain: float = 3.0
    deflate: bool = False
    slow: int = 0
    flood: bool = False
    joins: bool = False
    handshakes: bool = False
    limits: bool = False

    @property
    def label(self) -> str:
        """Return what is printed."""
        return f"{self.name}, {self.rooms} x {self.size}"

    @property
    def sockets(self) -> int:
        """Return how many sockets are opened."""
        return self.rooms * self.size
