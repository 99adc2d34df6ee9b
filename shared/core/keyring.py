"""What is derived from SECRET_KEY: keyed digests for short secrets, and encryption for answers kept at rest."""

import base64
import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet


class Keyring:
    """Keys of one installation; each purpose has a key of its own, so that one digest never equals another's."""

    def __init__(self, secret_key: str) -> None:
        self._secret = secret_key.encode()
        self._fernet = Fernet(base64.urlsafe_b64encode(self._key("at-rest")))

    def _key(self, purpose: str) -> bytes:
        return hmac.digest(self._secret, purpose.encode(), hashlib.sha256)

    def digest(self, purpose: str, *parts: str | bytes) -> str:
        """Return the keyed SHA-256 of `parts`, 64 hex digits; without the key it cannot be guessed offline.

        Parts are length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
        """
        mac = hmac.new(self._key(purpose), digestmod=hashlib.sha256)
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            mac.update(len(raw).to_bytes(8, "big") + raw)
        return mac.hexdigest()

    def hash_passcode(self, passcode: str) -> str:
        """Return a salted, keyed hash of a meeting's passcode.

        Not Argon2: it is checked while the meeting's row is locked, and the key protects it when the database leaks.
        """
        salt = secrets.token_hex(8)
        return f"{salt}${self.digest('passcode', salt, passcode)}"

    def passcode_matches(self, passcode: str, hashed: str) -> bool:
        """Compare in constant time."""
        salt, _, expected = hashed.partition("$")
        return hmac.compare_digest(self.digest("passcode", salt, passcode), expected)

    def encrypt(self, plain: bytes) -> str:
        """Return `plain` encrypted and authenticated, as text."""
        return self._fernet.encrypt(plain).decode()

    def decrypt(self, token: str) -> bytes:
        """Undo `encrypt`. Raises cryptography.fernet.InvalidToken when it was made with another key."""
        return self._fernet.decrypt(token.encode())
