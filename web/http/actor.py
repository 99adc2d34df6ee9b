"""From the Authorization header to the actor: first what the token says, then what the database says about it."""

from flask import request

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.errors import TokenRevoked, Unauthenticated
from shared.identity.service import find_actor
from shared.participants.membership import find_place
from web.http import tokens
from web.http.tokens import Claims, Kind


def bearer(*kinds: Kind) -> Claims:
    """Return the claims of the request's Bearer token. Raises Unauthenticated, TokenExpired."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Unauthenticated
    return tokens.read(text.strip(), *kinds)


def has_credential() -> bool:
    """Tell whether the request claims to come from somebody."""
    return "Authorization" in request.headers


def actor_of(tx: Transaction, claims: Claims) -> Actor:
    """Return the actor behind a token, as the database knows it now. Raises TokenRevoked."""
    if claims.kind == "guest":
        guest = Actor(name="", participant_id=claims.subject, meeting_id=claims.reference)
        place = find_place(tx, claims.reference, guest)
        if place is None or place.user_id is not None:
            raise TokenRevoked
        return Actor(name=place.user_name, participant_id=place.id, meeting_id=claims.reference)
    actor = find_actor(tx, claims.reference)
    if actor is None or actor.user_id != claims.subject:
        raise TokenRevoked
    return actor
