"""The cache: L1 in the process over L2 in Redis, for what never changes under its key.

A key holds a version (`policy`, meeting, 3). The row that everybody reads anyway, the meeting's, says which version is
the current one, so an entry can be missing but never stale: nothing has to be dropped, and a lost message or a dead
Redis cannot leave an old right behind. L2 is read before a transaction and written by workers; a transaction looks
into L1 only and reads the database when that does not know. Who miss the same thing at the same time read it once, L2
as the database.

What a transaction has changed itself is not put here by it: should it be undone, its version is given once more.
"""

import hmac
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import redis

from shared.core import strict_json
from shared.core.keyring import Keyring
from shared.core.metrics import CACHE_LOOKUPS
from shared.core.quick_redis import quick_client
from shared.core.single_flight import SingleFlight

log = logging.getLogger(__name__)

SIZE = 4096
TIMEOUT_SECONDS = 0.2
OPEN_SECONDS = 2.0
ABSENT_SECONDS = 5.0
SEAL_LENGTH = 64


def redis_key(kind: str, id_: str) -> str:
    """Return the Redis key under which the newest known version of something lies."""
    return f"parley:cache:{kind}:{id_}"


class _Entry(NamedTuple):
    version: int
    until: float
    value: Any


class Cache:
    """Entries by kind and id, each with its version. All methods may be called from any thread.

    An entry is good for `seconds`, in both layers: no right hangs on that, but memory does, and versions that are given
    again because a backup was restored. L1 holds `size` of them, and lets go which was not used longest. `flights` is
    for those who miss the same thing at the same time.
    """

    def __init__(self, redis_url: str, seconds: int, keyring: Keyring, size: int = SIZE) -> None:
        self._seconds = seconds
        self._size = size
        self._keyring = keyring
        self.flights: SingleFlight[Any] = SingleFlight()
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._absent: OrderedDict[tuple[str, str], float] = OrderedDict()  # until when L2 is believed to have none
        self._lock = threading.Lock()
        self._open_until = 0.0
        self._client = quick_client(redis_url, timeout=TIMEOUT_SECONDS)

    def get(self, kind: str, id_: str, version: int) -> Any | None:
        """Return the entry of exactly this version from L1, or None. Never waits."""
        value = self.peek(kind, id_, version)
        CACHE_LOOKUPS.labels(kind, "l1", "miss" if value is None else "hit").inc()
        return value

    def peek(self, kind: str, id_: str, version: int) -> Any | None:
        """Return what `get` returns, without counting the lookup."""
        with self._lock:
            found = self._find(kind, id_)
            if found is None or found.version != version:
                return None
            self._entries.move_to_end((kind, id_))
            return found.value

    def put(self, kind: str, id_: str, version: int, value: Any) -> None:
        """Remember an entry in L1, unless a newer version is there. Only what is committed."""
        with self._lock:
            found = self._find(kind, id_)
            if found is None or found.version <= version:
                self._entries[kind, id_] = _Entry(version, time.monotonic() + self._seconds, value)
                self._entries.move_to_end((kind, id_))
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def knows(self, kind: str, id_: str) -> bool:
        """Tell whether L1 has any version."""
        with self._lock:
            return self._find(kind, id_) is not None

    def _find(self, kind: str, id_: str) -> _Entry | None:
        """Return an entry that is not too old. The caller has the lock."""
        found = self._entries.get((kind, id_))
        if found is not None and found.until <= time.monotonic():
            del self._entries[kind, id_]
            return None
        return found

    def fetch(self, kind: str, id_: str) -> dict[str, Any] | None:
        """Return what L2 has, or None. Waits 0.2 s at most, and not at all for 2 s after Redis did not answer, or 5 s
        after it had none: a crowd that comes before anybody has read it from the database asks once."""
        now = time.monotonic()
        if now < self._open_until or now < self._absent.get((kind, id_), 0.0):
            return None
        try:
            raw: Any = self._client.get(redis_key(kind, id_))
            if raw is None:
                self._note_absent(kind, id_)
            found = None if raw is None else self._open(raw)
        except (redis.RedisError, OSError, ValueError) as broken:
            self._open_until = time.monotonic() + OPEN_SECONDS
            log.warning("cache_unreachable", extra={"error": str(broken)})
            return None
        CACHE_LOOKUPS.labels(kind, "l2", "hit" if found is not None else "miss").inc()
        return found if isinstance(found, dict) else None

    def _note_absent(self, kind: str, id_: str) -> None:
        """Keep in mind that L2 has none. Apart from the entries: strangers name as many meetings as they like."""
        with self._lock:
            self._absent[kind, id_] = time.monotonic() + ABSENT_SECONDS
            self._absent.move_to_end((kind, id_))
            while len(self._absent) > self._size:
                self._absent.popitem(last=False)

    def store(self, kind: str, entries: Mapping[str, dict[str, Any]]) -> None:
        """Write entries to L2, by id, in one round trip. For workers. Raises what the client raises."""
        pipeline = self._client.pipeline(transaction=False)
        for id_, value in entries.items():
            pipeline.set(redis_key(kind, id_), self._seal(strict_json.dumps(value)), ex=self._seconds)
        pipeline.execute()

    def _seal(self, text: bytes) -> bytes:
        # Who can write to Redis must not be able to write rights.
        return self._keyring.digest("cache", text).encode() + text

    def _open(self, sealed: bytes) -> Any:
        seal, text = sealed[:SEAL_LENGTH], sealed[SEAL_LENGTH:]
        if not hmac.compare_digest(seal, self._keyring.digest("cache", text).encode()):
            return None
        return strict_json.loads(text)
