"""The cache: versioned entries, in the process over Redis."""

import logging
import socket
import time
from collections.abc import Iterator

import pytest
import redis
from prometheus_client import REGISTRY

from dev.valkey import Valkey
from shared.core import cache as module
from shared.core.cache import ABSENT_SECONDS, Cache, redis_key
from shared.core.ids import new_id
from shared.core.keyring import Keyring

pytestmark = pytest.mark.once

KEYRING = Keyring("k" * 40)


@pytest.fixture
def cache(valkey: Valkey) -> Iterator[Cache]:
    """A cache on the real Valkey."""
    made = Cache(valkey.url, 60, KEYRING)
    yield made
    made._client.close()


@pytest.fixture
def client(valkey: Valkey) -> Iterator["redis.Redis"]:
    """Somebody else who can write to Redis."""
    with redis.Redis.from_url(valkey.url) as other:
        yield other


@pytest.fixture
def id_() -> str:
    return new_id()


# --- in the process -------------------------------------------------------------------------------------------------


def test_an_entry_is_found_by_exactly_its_version(cache: Cache, id_: str):
    cache.put("policy", id_, 3, "three")
    assert cache.get("policy", id_, 3) == "three"
    assert cache.get("policy", id_, 2) is None
    assert cache.get("policy", id_, 4) is None
    assert cache.get("other", id_, 3) is None


def test_a_newer_version_replaces_and_an_older_one_does_not(cache: Cache, id_: str):
    cache.put("policy", id_, 3, "three")
    cache.put("policy", id_, 2, "two")
    assert cache.get("policy", id_, 3) == "three"
    cache.put("policy", id_, 4, "four")
    assert (cache.get("policy", id_, 3), cache.get("policy", id_, 4)) == (None, "four")


def test_what_is_known_is_known_in_any_version(cache: Cache, id_: str):
    assert not cache.knows("policy", id_)
    cache.put("policy", id_, 1, "x")
    assert cache.knows("policy", id_)


def test_the_entry_that_was_not_used_longest_makes_room(valkey: Valkey):
    cache = Cache(valkey.url, 60, KEYRING, size=2)
    cache.put("k", "a", 1, "a")
    cache.put("k", "b", 1, "b")
    assert cache.get("k", "a", 1) == "a"
    cache.put("k", "c", 1, "c")
    assert [cache.knows("k", each) for each in "abc"] == [True, False, True]


def test_an_entry_is_good_for_so_long_in_l1_too(valkey: Valkey, monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    cache = Cache(valkey.url, 60, KEYRING)
    cache.put("k", "a", 3, "three")
    now[0] += 59.9
    assert cache.get("k", "a", 3) == "three"
    now[0] += 0.1
    assert (cache.get("k", "a", 3), cache.knows("k", "a"), len(cache._entries)) == (None, False, 0)
    cache.put("k", "a", 2, "two")  # a version of before, after a restored backup
    assert cache.get("k", "a", 2) == "two"


def test_looking_without_counting_counts_nothing(cache: Cache, id_: str):
    def lookups() -> list[float]:
        labels = [{"cache": "peeked", "layer": "l1", "outcome": outcome} for outcome in ("hit", "miss")]
        return [REGISTRY.get_sample_value("parley_cache_lookups_total", each) or 0.0 for each in labels]

    cache.put("peeked", id_, 1, "x")
    assert (cache.peek("peeked", id_, 1), cache.peek("peeked", id_, 2), lookups()) == ("x", None, [0, 0])
    assert (cache.get("peeked", id_, 1), cache.get("peeked", id_, 2), lookups()) == ("x", None, [1, 1])


# --- in Redis -------------------------------------------------------------------------------------------------------


def test_what_is_stored_is_fetched_by_every_process(cache: Cache, id_: str, valkey: Valkey):
    cache.store("policy", {id_: {"version": 3}, "other": {"version": 1}})
    assert Cache(valkey.url, 60, KEYRING).fetch("policy", id_) == {"version": 3}
    assert cache.fetch("policy", new_id()) is None


def test_what_is_stored_goes_away_by_itself(cache: Cache, client: "redis.Redis", id_: str):
    cache.store("policy", {id_: {}})
    assert 0 < int(client.ttl(redis_key("policy", id_))) <= 60  # type: ignore[arg-type]


def test_what_was_not_sealed_by_us_is_not_believed(cache: Cache, client: "redis.Redis", id_: str, valkey: Valkey):
    key = redis_key("policy", id_)
    Cache(valkey.url, 60, Keyring("o" * 40)).store("policy", {id_: {"lock_meeting": False}})
    assert cache.fetch("policy", id_) is None
    cache.store("policy", {id_: {"lock_meeting": True}})
    sealed: bytes = client.get(key)  # type: ignore[assignment]
    assert cache.fetch("policy", id_) == {"lock_meeting": True}
    for forged in (sealed.replace(b"true", b"null"), b"", b"{}", b"\xff" * 100):
        client.set(key, forged)
        assert cache.fetch("policy", id_) is None


def test_what_is_sealed_but_no_object_is_not_returned(cache: Cache, client: "redis.Redis", id_: str):
    client.set(redis_key("policy", id_), cache._seal(b"[1]"))
    assert cache.fetch("policy", id_) is None


def test_what_is_sealed_but_no_json_opens_the_circuit_and_is_not_returned(
    cache: Cache, client: "redis.Redis", id_: str
):
    client.set(redis_key("policy", id_), cache._seal(b"{"))
    assert cache.fetch("policy", id_) is None


def test_what_redis_does_not_have_is_not_asked_for_again_at_once(
    cache: Cache, id_: str, monkeypatch: pytest.MonkeyPatch
):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert cache.fetch("policy", id_) is None
    cache.store("policy", {id_: {"version": 3}})
    now[0] += ABSENT_SECONDS - 0.1
    assert cache.fetch("policy", id_) is None
    now[0] += 0.1
    assert cache.fetch("policy", id_) == {"version": 3}


def test_strangers_who_name_what_is_not_there_push_nothing_out(valkey: Valkey):
    cache = Cache(valkey.url, 60, KEYRING, size=2)
    cache.put("k", "a", 1, "a")
    for _ in range(5):
        assert cache.fetch("k", new_id()) is None
    assert (cache.get("k", "a", 1), len(cache._absent)) == ("a", 2)


# --- when Redis does not answer -------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of something that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def test_a_redis_that_hangs_costs_a_fifth_of_a_second_once(silent: str, id_: str, caplog: pytest.LogCaptureFixture):
    cache = Cache(silent, 60, KEYRING)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            assert cache.fetch("policy", id_) is None
    assert time.monotonic() - began < 0.6
    assert [record.message for record in caplog.records] == ["cache_unreachable"]


def test_l1_works_without_redis(silent: str, id_: str):
    cache = Cache(silent, 60, KEYRING)
    cache.put("policy", id_, 1, "x")
    assert cache.get("policy", id_, 1) == "x"


def test_the_circuit_closes_when_redis_is_back(cache: Cache, silent: str, id_: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "OPEN_SECONDS", 60.0)
    cache.store("policy", {id_: {"version": 1}})
    there, away = cache._client, Cache(silent, 60, KEYRING)._client
    cache._client = away
    assert cache.fetch("policy", id_) is None
    cache._client = there
    assert cache.fetch("policy", id_) is None
    cache._open_until -= 60
    assert cache.fetch("policy", id_) == {"version": 1}


def test_a_worker_is_told_that_it_could_not_store(silent: str):
    with pytest.raises(redis.RedisError):
        Cache(silent, 60, KEYRING).store("policy", {"x": {}})
