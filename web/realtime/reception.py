"""The reception: newcomers are examined before the upgrade, those who come at the same time together."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.core import ledger
from shared.core.batching import Batcher
from shared.core.errors import DomainError, ValidationFailed
from shared.core.streams import meeting_stream, wire_name
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.participants import arrivals
from shared.participants.arrivals import Arrival, Listener
from shared.participants.membership import Membership
from shared.participants.models import Participant
from shared.participants.queries import audible_streams, entries_of, may_resume
from shared.realtime.envelope import timestamp
from shared.runtime import Runtime

WINDOW_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody at the door: who they say to be, the cursors they come with by wire name, and the epoch of these.

    `expires_at` is the end of the token they brought, as POSIX time; a ticket knows its own.
    """

    arrival: Arrival
    since: dict[str, int]
    epoch: str | None
    address: str
    expires_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Handshake:
    """What was found out about a newcomer.

    `keys` are those of the streams they hear; `resumed` maps some to the number behind which they go on. `recovered`
    is False when the newcomer came without cursors, or with some that cannot be continued (`needs_resync`).
    """

    actor: Actor
    participant_id: str
    expires_at: float
    keys: list[str]
    resumed: dict[str, int]
    epoch: str
    recovered: bool
    needs_resync: bool
    address: str


class Reception:
    """The reception of one process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._batcher: Batcher[Newcomer, Handshake] = Batcher(self._receive)

    def receive(self, newcomer: Newcomer) -> Handshake:
        """Examine a newcomer. Raises what `arrivals.receive` refuses with, ValidationFailed, ServiceUnavailable."""
        return self._batcher.run(newcomer)

    def _receive(self, newcomers: Sequence[Newcomer]) -> Sequence[Handshake | DomainError]:
        have_tickets = any(one.arrival.ticket is not None for one in newcomers)
        with self._runtime.transaction() if have_tickets else self._runtime.reading() as tx:
            return _examine(tx, newcomers)


def _examine(tx: Transaction, newcomers: Sequence[Newcomer]) -> list[Handshake | DomainError]:
    found = arrivals.receive(tx, [one.arrival for one in newcomers])
    keys = {key for one in found if isinstance(one, Listener) for key in audible_streams(one.membership.me)}
    heads = ledger.heads(tx.connection, keys) if keys else {}
    epoch = ledger.epoch(tx.connection)
    pairs = list(zip(found, newcomers, strict=True))
    returning = {one.membership.me.id for one, who in pairs if isinstance(one, Listener) and who.since}
    entries = entries_of(tx, returning) if returning else {}
    outcomes: list[Handshake | DomainError] = []
    for one, who in pairs:
        if isinstance(one, Listener):
            try:
                outcomes.append(_plan(tx, one, who, heads, epoch, entries.get(one.membership.me.id, ())))
            except ValidationFailed as refusal:
                outcomes.append(refusal)
        else:
            outcomes.append(one)
    return outcomes


def _plan(
    tx: Transaction, found: Listener, who: Newcomer, all_heads: dict[str, int], epoch: str, entries: Sequence[int]
) -> Handshake:
    """Find from where a newcomer goes on. Raises ValidationFailed for a cursor of a stream they do not hear."""
    me = found.membership.me
    heads = {key: all_heads[key] for key in audible_streams(me)}
    names = {wire_name(key): key for key in heads}
    foreign = [name for name in who.since if name not in names]
    if foreign:
        raise ValidationFailed(details={"since": [f"You do not hear the stream {foreign[0]}."]})
    wanted = {names[name]: seq for name, seq in who.since.items()}
    good = who.epoch in (None, epoch) and all(
        _continues(tx, found.membership, entries, key, seq, heads[key]) for key, seq in wanted.items()
    )
    return Handshake(
        actor=found.actor,
        participant_id=me.id,
        expires_at=found.token_expires_at.timestamp() if found.token_expires_at else who.expires_at,
        keys=list(heads),
        resumed=wanted if good else {},
        epoch=epoch,
        recovered=bool(who.since) and good,
        needs_resync=bool(who.since) and not good,
        address=who.address,
    )


def _continues(tx: Transaction, membership: Membership, entries: Sequence[int], key: str, seq: int, head: int) -> bool:
    """Tell whether everything behind `seq` is kept, was theirs to hear, and has happened already."""
    if seq > head or head - seq > WINDOW_EVENTS:
        return False
    if key == meeting_stream(membership.meeting.id) and not may_resume(membership.me, entries, seq):
        return False
    if seq == head or tx.now - membership.meeting.created_at <= ledger.WINDOW:  # nothing in it can be older
        return True
    oldest = ledger.read(tx.connection, key, seq, 1)
    return bool(oldest) and oldest[0].seq == seq + 1 and (tx.now - oldest[0].created_at) <= ledger.WINDOW


def welcome_of(
    runtime: Runtime, handshake: Handshake, connection_id: str, me: Participant, cursors: dict[str, int]
) -> dict[str, object]:
    """Return the `data` of the welcome frame."""
    settings = runtime.settings
    return {
        "connection_id": connection_id,
        "participant": me.public(),
        "cursors": cursors,
        "epoch": handshake.epoch,
        "heartbeat": {"interval": settings.heartbeat_interval, "timeout": settings.heartbeat_timeout},
        "recovered": handshake.recovered,
        "time": timestamp(runtime.now()),
    }
