"""People and meetings for drills: made by the services, past all proxies, so that hundreds of them take no time."""

from contextlib import AbstractContextManager
from typing import Any

from flask import Flask

from shared.core.ids import new_id
from shared.core.transaction import Transaction
from shared.identity import service as identity
from shared.identity.actor import Actor
from shared.meetings import service as meetings
from shared.meetings.service import MeetingWish
from shared.participants import service as participants
from shared.participants.service import JoinWish
from shared.runtime import Runtime
from tests.faults.clients import Seat
from web.http import tokens

TOKEN_SECONDS = 7200


class People:
    """Makes meetings with people inside. `app` only signs their tokens."""

    def __init__(self, app: Flask, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime

    def reading(self) -> AbstractContextManager[Transaction]:
        """Return a transaction for reads, as the product makes it."""
        return self._runtime.reading()

    def user(self) -> tuple[Actor, str]:
        """Return somebody with an account, and a token."""
        address = f"{new_id().lower()}@example.com"
        with self._runtime.transaction() as tx:
            session = identity.register(tx, address, "Somebody", "not a hash")
        with self._app.app_context():
            token = tokens.sign("access", session.user_id, session.session_id, TOKEN_SECONDS)
        return Actor(name="Somebody", user_id=session.user_id, email=address, session_id=session.session_id), token

    def start(self, **wishes: Any) -> tuple[str, Actor, str]:
        """Return a running meeting, its host (not inside yet) and the host's token."""
        host, token = self.user()
        with self._runtime.transaction() as tx:
            made = meetings.create(tx, host, MeetingWish(title="A drill", **wishes))
            meetings.start(tx, made.id, host)
        return made.id, host, token

    def join(self, meeting_id: str, actor: Actor, token: str) -> Seat:
        """Let somebody in."""
        with self._runtime.transaction() as tx:
            place = participants.join(tx, meeting_id, actor, JoinWish()).participant
        return Seat(meeting_id, place.id, token, place.is_staff)

    def meeting(self, size: int) -> list[Seat]:
        """Return the seats of a running meeting with so many people inside; the first is the host's."""
        meeting_id, host, token = self.start(policy={"max_participants": 10_000})
        seats = [self.join(meeting_id, host, token)]
        for _ in range(size - 1):
            seats.append(self.join(meeting_id, *self.user()))
        return seats
