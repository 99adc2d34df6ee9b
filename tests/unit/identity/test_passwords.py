"""Passwords."""

import statistics
import threading
import time

import pytest

from shared.identity.passwords import NOBODY, hash_password, password_matches

pytestmark = pytest.mark.once

RIGHT = "correct horse battery staple"
HASHED = hash_password(RIGHT)


def test_a_password_fits_its_hash_and_no_other_does():
    assert password_matches(RIGHT, HASHED)
    for wrong in ("", RIGHT + " ", RIGHT.upper(), "x" * 256):
        assert not password_matches(wrong, HASHED)


def test_a_hash_is_argon2id_and_different_each_time():
    assert HASHED.startswith("$argon2id$")
    assert hash_password(RIGHT) != HASHED
    assert len(HASHED) <= 200


@pytest.mark.parametrize("broken", ["", "not a hash", "$argon2id$v=19$m=1", "$2b$12$abcdefghijklmnopqrstuv"])
def test_a_broken_hash_fits_nothing(broken: str):
    assert not password_matches(RIGHT, broken)


def test_a_password_may_be_of_any_letters():
    for password in ("пароль-пароль", "\U0001f40e\U0001f50b", "x" * 256):
        assert password_matches(password, hash_password(password))


def test_s22_an_account_that_does_not_exist_takes_as_long_as_a_wrong_password():
    def took(hashed: str) -> float:
        began = time.process_time()
        assert not password_matches("wrong password", hashed)
        return time.process_time() - began

    pairs = [(took(NOBODY), took(HASHED)) for _ in range(7)]
    nobody, somebody = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert 0.5 < nobody / somebody < 2


def test_many_at_once_all_get_their_answer():
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(password_matches(RIGHT, HASHED))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 8
