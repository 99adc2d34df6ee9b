"""What is derived from SECRET_KEY."""

import pytest
from cryptography.fernet import InvalidToken

from shared.core.keyring import Keyring

pytestmark = pytest.mark.once

ring = Keyring("k" * 40)
other = Keyring("o" * 40)


def test_a_digest_is_the_same_for_the_same_and_64_hex_digits():
    assert ring.digest("ticket", "a") == Keyring("k" * 40).digest("ticket", "a")
    assert len(bytes.fromhex(ring.digest("ticket", "a"))) == 32


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (ring.digest("ticket", "a"), ring.digest("passcode", "a")),
        (ring.digest("ticket", "a"), other.digest("ticket", "a")),
        (ring.digest("ticket", "ab", "c"), ring.digest("ticket", "a", "bc")),
        (ring.digest("ticket", "a", ""), ring.digest("ticket", "a")),
        (ring.digest("ticket", "a"), ring.digest("ticket", "A")),
    ],
    ids=["purpose", "key", "parts", "number of parts", "case"],
)
def test_digests_differ_by(one: str, two: str):
    assert one != two


def test_text_and_its_bytes_have_one_digest():
    assert ring.digest("body", "é") == ring.digest("body", "é".encode())


def test_a_passcode_fits_its_hash_and_no_other_does():
    hashed = ring.hash_passcode("482913")
    assert ring.passcode_matches("482913", hashed)
    for wrong in ("482914", "", "482913 ", "48291"):
        assert not ring.passcode_matches(wrong, hashed)
    assert not other.passcode_matches("482913", hashed)


def test_the_same_passcode_is_hashed_differently_each_time():
    assert ring.hash_passcode("482913") != ring.hash_passcode("482913")
    assert "482913" not in ring.hash_passcode("482913")


@pytest.mark.parametrize("broken", ["", "nothing", "$", "salt$", "salt$00"])
def test_a_broken_hash_fits_nothing(broken: str):
    assert not ring.passcode_matches("482913", broken)


def test_what_is_encrypted_can_be_read_with_the_same_key_only():
    sealed = ring.encrypt(b"an answer")
    assert "answer" not in sealed
    assert ring.decrypt(sealed) == b"an answer"
    for reader, text in ((other, sealed), (ring, sealed[:-4] + "AAA="), (ring, "nonsense")):
        with pytest.raises(InvalidToken):
            reader.decrypt(text)
