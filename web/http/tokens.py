"""Access, refresh and guest tokens: JWTs by flask-jwt-extended, with nothing taken for granted.

The library accepts tokens without exp, iss, aud or type, and answers 422 to broken ones (promises M29, stack T16);
here every claim is required, and everything that is not a valid token of ours is UNAUTHENTICATED.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import jwt
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token

from shared.core.settings import Settings
from shared.identity.errors import TokenExpired, Unauthenticated
from shared.identity.scopes import Scope
from web.http.runtime import current_runtime

ISSUER = "parley"
AUDIENCE = "parley-api"
ALGORITHM = "HS256"
LEEWAY_SECONDS = 10
Kind = Literal["access", "refresh", "guest"]
_REQUIRED = ("iss", "aud", "exp", "iat", "nbf", "jti", "sub", "typ", "ref")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says. `reference` is the session of a user's token, the meeting of a guest's.

    Of an API key (web.http.keys) it is the key, and `scopes` are what it was made for; None for tokens.
    """

    kind: str
    subject: str
    reference: str
    token_id: str
    expires_at: datetime
    scopes: tuple[Scope, ...] | None = None


def install(app: Flask, settings: Settings) -> None:
    """Configure the library for this application."""
    app.config.update(
        JWT_SECRET_KEY=settings.jwt_secret_key,
        JWT_ALGORITHM=ALGORITHM,
        JWT_ENCODE_ISSUER=ISSUER,
        JWT_ENCODE_AUDIENCE=AUDIENCE,
    )
    JWTManager(app)


def sign(kind: Kind, subject: str, reference: str, seconds: int, token_id: str | None = None) -> str:
    """Return a signed token; `token_id` becomes its jti, for refresh tokens."""
    claims: dict[str, Any] = {"typ": kind, "ref": reference}
    if token_id is not None:
        claims["jti"] = token_id
    return create_access_token(subject, expires_delta=timedelta(seconds=seconds), additional_claims=claims)


def read(text: str, *kinds: Kind) -> Claims:
    """Return the claims of a token of one of these kinds. Raises TokenExpired, Unauthenticated."""
    try:
        # The library's own decode_token reads the token twice and costs three times as much (docs/adr/0012).
        claims = jwt.decode(
            text,
            current_runtime().settings.jwt_secret_key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY_SECONDS,
            options={"require": list(_REQUIRED)},
        )
    except jwt.ExpiredSignatureError:
        raise TokenExpired from None
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError):
        raise Unauthenticated("This is not a valid token.") from None
    if any(claims.get(name) in (None, "") for name in _REQUIRED) or claims["typ"] not in kinds:
        raise Unauthenticated("This token is not for this.")
    if claims["exp"] - claims["iat"] > _longest_seconds():
        raise Unauthenticated("This token was never ours: it lives too long.")
    return Claims(
        kind=claims["typ"],
        subject=str(claims["sub"]),
        reference=str(claims["ref"]),
        token_id=str(claims["jti"]),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def _longest_seconds() -> int:
    settings = current_runtime().settings
    return max(settings.access_token_ttl, settings.refresh_token_ttl, settings.guest_token_ttl)
