"""The types of client frames: each capability declares its own, in its `socket.py` (contract 11)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.core.errors import DomainError
from shared.core.idempotency import Request
from shared.core.messages import Signal
from shared.core.transaction import Position, Transaction
from shared.identity.actor import Actor
from shared.participants.permissions import Permission
from shared.participants.standing import Standing
from web.http.schema import Schema


@dataclass(frozen=True, slots=True)
class FrameType:
    """One type of client frame. `is_kept` ones are acknowledged with their position, and done once per `id`.

    `permission` is what the sender must be allowed to do, which the service asks for.

    `fits` knows the usual valid data at a glance, for frames that come in numbers; the schema judges the rest.
    `handle_all` handles several asks of one meeting in one transaction, those of which `may_join` says that they may.
    """

    name: str
    schema: Schema
    handle: Callable[..., Any]
    permission: Permission
    limit: str | None
    is_kept: bool
    fits: Callable[[dict[str, Any]], bool] | None = None
    handle_all: "Callable[[Transaction, Sequence[Ask]], Sequence[Position | DomainError]] | None" = None
    may_join: Callable[[dict[str, Any]], bool] | None = None


FRAME_TYPES: dict[str, FrameType] = {}


def frame(
    name: str, schema: Schema, *, permission: Permission, limit: str
) -> Callable[[Callable[..., Position | None]], Callable[..., Position | None]]:
    """Register `(tx, actor, meeting_id, **fields) -> Position | None` as the handler of a frame that is kept."""

    def register(handle: Callable[..., Position | None]) -> Callable[..., Position | None]:
        FRAME_TYPES[name] = FrameType(name, schema, handle, permission, limit, is_kept=True)
        return handle

    return register


def signal(
    name: str, schema: Schema, *, permission: Permission, fits: Callable[[dict[str, Any]], bool]
) -> Callable[[Callable[..., Signal]], Callable[..., Signal]]:
    """Register `(standing, **fields) -> Signal` as the handler of a frame that is told once and not kept."""

    def register(handle: Callable[..., Signal]) -> Callable[..., Signal]:
        FRAME_TYPES[name] = FrameType(name, schema, handle, permission, limit=None, is_kept=False, fits=fits)
        return handle

    return register


def together(
    name: str, *, when: Callable[[dict[str, Any]], bool]
) -> Callable[[Callable[..., Sequence[Position | DomainError]]], Callable[..., Sequence[Position | DomainError]]]:
    """Register `(tx, asks) -> outcomes` as the handler of several frames of a registered type at once.

    The asks are of one meeting, and each is one of which `when(data)` is true. An outcome is what the frame's own
    handler would return or raise. What the transaction did is undone when the handler raises.
    """

    def register(
        handle_all: Callable[..., Sequence[Position | DomainError]],
    ) -> Callable[..., Sequence[Position | DomainError]]:
        FRAME_TYPES[name] = replace(FRAME_TYPES[name], handle_all=handle_all, may_join=when)
        return handle_all

    return register


@dataclass(slots=True)
class Sender:
    """Who sends: the person behind a connection. `participant_id` scopes the ids of frames.

    `standing` is what decides about their signals, as `read_at` (monotonic seconds); see web.realtime.standings.
    """

    meeting_id: str
    participant_id: str
    actor: Actor
    standing: Standing | None = None
    read_at: float = 0.0
    renewals: int = 0

    def renew(self) -> None:
        """Have the standing looked up anew; also one that is being read at this moment."""
        self.renewals += 1
        self.standing = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A frame that is kept: its valid data, and what identifies it when it is sent again."""

    kind: FrameType
    sender: Sender
    wanted: dict[str, Any]
    once: Request | None

    @property
    def may_join(self) -> bool:
        """Tell whether this can be done in one transaction with others of its meeting."""
        return self.kind.may_join is not None and self.kind.may_join(self.wanted)
