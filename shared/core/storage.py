"""Object storage: a directory, or a bucket (obstore). For workers and the command line: it waits for the network."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

BUCKETS = ("s3", "gs", "az")
# One attempt, and once more: what does not answer by then is asked again by the next run. HTTP is spoken only to an
# endpoint that was given as http://, which is one beside us.
_CLIENT = {"connect_timeout": "5s", "timeout": "10s", "allow_http": True}
_RETRY = {"max_retries": 1, "retry_timeout": timedelta(seconds=10)}


class StorageFailed(Exception):
    """The storage does not answer, or refuses."""


class ObjectMissing(StorageFailed):
    """The storage answers, and has no such object."""


class Storage:
    """A place for objects: `url` is a directory (a path, or file://) or s3://, gs://, az:// with bucket and prefix.

    Buckets find their credentials where their own tools look for them: for S3 in the names AWS_…, or in the role of the
    machine. Raises StorageFailed when the place cannot be used at all.
    """

    def __init__(self, url: str) -> None:
        # Imported here: 15 MB that neither web nor beat needs, and threads of its own that no fork would survive.
        from obstore import exceptions, store

        self._refusals = (exceptions.BaseError, OSError, ValueError)
        folder = directory_of(url)
        self._folder = None if folder is None else folder.absolute()
        self._store: Any
        try:
            if self._folder is not None:
                self._store = store.LocalStore(self._folder, mkdir=True)
            else:
                self._store = store.from_url(url, client_options=_CLIENT, retry_config=_RETRY)  # type: ignore[call-overload]
        except self._refusals as refusal:
            raise StorageFailed(_first_line(refusal)) from refusal

    def put(self, key: str, body: bytes) -> None:
        """Store an object, in place of one that is there; it survives a loss of power. Raises StorageFailed."""
        from obstore import put

        try:
            put(self._store, key, body)
            if self._folder is not None:
                _sync(self._folder, key)
        except self._refusals as refusal:
            raise StorageFailed(f"{key}: {_first_line(refusal)}") from refusal

    def get(self, key: str) -> bytes:
        """Return an object. Raises ObjectMissing, StorageFailed."""
        from obstore import get

        try:
            return get(self._store, key).bytes().to_bytes()
        except FileNotFoundError as missing:
            raise ObjectMissing(f"{key}: there is no such object") from missing
        except self._refusals as refusal:
            raise StorageFailed(f"{key}: {_first_line(refusal)}") from refusal


def directory_of(url: str) -> Path | None:
    """Return the directory that a URL names; None when it names a bucket."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme in BUCKETS else Path(url)


def _first_line(refusal: Exception) -> str:
    return (str(refusal).splitlines() or [type(refusal).__name__])[0]  # obstore tells all it knows, over many lines


def _sync(folder: Path, key: str) -> None:
    """Have a file, and the names of it and its folders, written to the disk."""
    for path in (folder / key, *(folder / parent for parent in Path(key).parents)):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
