"""From the Authorization header to the actor: first what the token says, then what the database says about it."""

from flask import request

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.api_keys import get_owner
from shared.identity.errors import KeyNotAccepted, TokenRevoked, Unauthenticated
from shared.identity.service import find_actor
from shared.participants.membership import find_place
from web.http import keys, tokens
from web.http.tokens import Claims, Kind


def bearer(*kinds: Kind, takes_keys: bool = False) -> Claims:
    """Return the claims of the request's Bearer token, or of an API key.

    Raises Unauthenticated, TokenExpired, TokenRevoked (a key), KeyNotAccepted.
    """
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Unauthenticated
    if keys.is_key(text.strip()):
        claims = keys.read(text.strip())
        if not takes_keys:
            raise KeyNotAccepted(claims.subject)
        return claims
    return tokens.read(text.strip(), *kinds)


def has_credential() -> bool:
    """Tell whether the request claims to come from somebody."""
    return "Authorization" in request.headers


def actor_of(tx: Transaction, claims: Claims) -> Actor:
    """Return the actor behind a token or key, as the database knows it now. Raises TokenRevoked, TokenExpired."""
    if claims.kind == "key":
        return get_owner(tx, claims.reference)
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
