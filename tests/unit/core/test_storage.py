"""Object storage: a directory and a bucket do the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.core.storage import ObjectMissing, Storage, StorageFailed
from tests.fakes.s3 import FakeBucket

pytestmark = pytest.mark.once

KEY = "01JQ0000000000000000000001/m-0000000001-abc.jsonl.gz"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    with FakeBucket() as server:
        monkeypatch.setenv("AWS_ENDPOINT", server.url)
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0000000000000000")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield server


@pytest.fixture(params=["path", "file", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "s3":
        request.getfixturevalue("bucket")
        return Storage("s3://archive/of/parley")
    folder = tmp_path / "some folder"
    return Storage(str(folder) if request.param == "path" else folder.as_uri())


def test_what_was_stored_comes_back_and_is_replaced_by_what_is_stored_again(storage: Storage) -> None:
    for body in (b"first", b"\x00second", b"x" * 100_000, b""):
        storage.put(KEY, body)
        assert storage.get(KEY) == body


def test_what_is_not_there_is_missing(storage: Storage) -> None:
    with pytest.raises(ObjectMissing, match=KEY):
        storage.get(KEY)


def test_a_directory_holds_files_that_can_be_read_without_us(tmp_path: Path) -> None:
    Storage(str(tmp_path / "new" / "archive")).put(KEY, b"said")
    assert [path.name for path in (tmp_path / "new" / "archive").rglob("*") if path.is_file()] == [Path(KEY).name]
    assert (tmp_path / "new" / "archive" / KEY).read_bytes() == b"said"


def test_a_bucket_gets_signed_requests_under_its_prefix(bucket: FakeBucket) -> None:
    Storage("s3://archive/of/parley").put(KEY, b"said")
    assert bucket.objects == {f"/archive/of/parley/{KEY}": b"said"}
    assert all(said.startswith("AWS4-HMAC-SHA256 ") for said in bucket.authorizations)


def test_a_bucket_that_fails_once_is_asked_again_and_one_that_goes_on_failing_is_given_up(bucket: FakeBucket) -> None:
    storage = Storage("s3://archive/of/parley")
    bucket.failures = 1
    storage.put(KEY, b"said")
    bucket.failures = 10
    with pytest.raises(StorageFailed, match=KEY):
        storage.put(KEY, b"other")
    with pytest.raises(StorageFailed, match=KEY):
        storage.get(KEY)
    bucket.failures = 0
    assert storage.get(KEY) == b"said"


def test_a_place_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(StorageFailed):
        Storage(str(tmp_path / "file" / "below"))
