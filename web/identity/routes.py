"""Doors of identity: /auth (contract 2)."""

from typing import Any

from flask_smorest import Blueprint

from shared.core.transaction import Transaction
from shared.identity import service as identity
from shared.identity.actor import Actor
from shared.identity.errors import EmailTaken, InvalidCredentials, TokenRevoked
from shared.identity.names import clean_name
from shared.identity.passwords import NOBODY, hash_password, password_matches
from web.http import tokens
from web.http.door import door
from web.http.limits import count_message
from web.http.reply import Reply
from web.http.runtime import current_runtime
from web.http.schema import Empty
from web.http.tokens import Claims
from web.identity.schemas import LoginRequest, RegisterRequest, SignedIn, User

blueprint = Blueprint("auth", __name__, url_prefix="/api/v1/auth", description="Accounts, sessions and tokens")


def _hash(wanted: dict[str, Any]) -> dict[str, Any]:
    password = wanted.pop("password")
    return {**wanted, "name": clean_name(wanted["name"]), "password_hash": hash_password(password)}


@door(
    blueprint,
    "POST",
    "/register",
    permission=None,
    who="anyone",
    takes=RegisterRequest(),
    gives=SignedIn(),
    status=201,
    limit="register",
    prepare=_hash,
    message="Welcome.",
    refusals=(EmailTaken,),
)
def register(tx: Transaction, _actor: Actor | None, email: str, name: str, password_hash: str) -> dict[str, Any]:
    """Make an account

    Returns tokens for its first session.
    """
    return _signed_in(identity.register(tx, email, name, password_hash))


def _check_password(wanted: dict[str, Any]) -> dict[str, Any]:
    count_message("login", f"account:{wanted['email']}")
    with current_runtime().reading() as tx:
        hashed = identity.password_hash_of(tx, wanted["email"])
    if not password_matches(wanted["password"], hashed or NOBODY) or hashed is None:
        raise InvalidCredentials
    return {"email": wanted["email"]}


@door(
    blueprint,
    "POST",
    "/login",
    permission=None,
    who="anyone",
    takes=LoginRequest(),
    gives=SignedIn(),
    limit="login",
    prepare=_check_password,
    message="Welcome back.",
    refusals=(InvalidCredentials,),
)
def login(tx: Transaction, _actor: Actor | None, email: str) -> dict[str, Any]:
    """Open a session with e-mail and password"""
    return _signed_in(identity.open_session(tx, email))


@door(blueprint, "POST", "/refresh", permission=None, who="refresh", gives=SignedIn(), message="Refreshed.")
def refresh(tx: Transaction, claims: Claims) -> Any:
    """Exchange a refresh token for new tokens

    Send the refresh token as Bearer. It works once; if it is used again, the whole session ends.
    """
    session = identity.refresh(tx, claims.reference, claims.token_id)
    if session is None:
        return Reply(refusal=TokenRevoked("This refresh token was used before; the session has been ended."))
    return _signed_in(session)


@door(blueprint, "POST", "/logout", permission=None, who="user", gives=Empty(), message="Goodbye.")
def logout(tx: Transaction, actor: Actor) -> dict[str, Any]:
    """End the session: its tokens stop working at once"""
    identity.revoke(tx, actor.session_id or "", "logout")
    return {}


@door(blueprint, "GET", "/me", permission=None, who="user", gives=User())
def me(_tx: Transaction, actor: Actor) -> dict[str, Any]:
    """Who am I?"""
    return {"user_id": actor.user_id, "email": actor.email, "name": actor.name}


def _signed_in(session: identity.Session) -> dict[str, Any]:
    settings = current_runtime().settings
    return {
        "user": {"user_id": session.user_id, "email": session.email, "name": session.name},
        "access_token": tokens.sign("access", session.user_id, session.session_id, settings.access_token_ttl),
        "refresh_token": tokens.sign(
            "refresh", session.user_id, session.session_id, settings.refresh_token_ttl, session.refresh_id
        ),
        "expires_in": settings.access_token_ttl,
    }
