"""Passwords: Argon2id with the library's current parameters. Slow on purpose: never call it inside a transaction."""

import base64
import os
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

_hasher = PasswordHasher()
# Argon2 takes 64 MiB each time; a burst of logins must queue here and not in the machine's memory.
_at_once = threading.BoundedSemaphore(4)


def hash_password(password: str) -> str:
    """Return an Argon2id hash in PHC form."""
    with _at_once:
        return _hasher.hash(password)


def password_matches(password: str, hashed: str) -> bool:
    """Check a password against a hash, in about the same time whether it fits or not."""
    with _at_once:
        try:
            return _hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def _nobodys_hash() -> str:
    """Return a hash in PHC form that no password has, without the tenth of a second that hashing one would take."""
    salt, digest = (
        base64.b64encode(os.urandom(length)).rstrip(b"=").decode() for length in (_hasher.salt_len, _hasher.hash_len)
    )
    cost = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${cost}${salt}${digest}"


# Verified against when the account does not exist, so that the answer takes as long.
NOBODY = _nobodys_hash()
