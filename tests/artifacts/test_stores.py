"""Both stores behave the same, and a signed URL allows exactly what was signed."""

from __future__ import annotations

import datetime
import gc
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import httpx
import pytest

from app import keys
from app.artifacts import LocalStore, SignedUrl, Store, StoreUnavailable
from app.artifacts.base import CHUNK
from app.artifacts.s3 import S3Store
from app.config import settings
from app.errors import TooLarge
from tests import patiently
from tests.mounts import needs_mounts, small_disk
from tests.s3 import BUCKET, S3Server, breaking

pytestmark = pytest.mark.xdist_group("s3")
MANY = 9 * 1024 * 1024
PUBLIC_URL = "http://127.0.0.1:1"


@pytest.fixture
def server(shared_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with its credentials in the variables that boto3 reads."""
    for name, value in shared_s3.credentials.items():
        monkeypatch.setenv(name, value)
    return shared_s3


@pytest.fixture(scope="module")
def s3(shared_s3: S3Server) -> Store:
    """One for all tests, since a client of boto3 takes a tenth of a second to make."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shared_s3.credentials.items():
            patch.setenv(name, value)
        return S3Store(BUCKET, shared_s3.url, "us-east-1", path_style=True, public_url=PUBLIC_URL)


@pytest.fixture(autouse=True)
def secret_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AGENT_RUNNERS_SECRET_KEY", "a key for tests, which is long enough")
    settings.cache_clear()
    keys._key.cache_clear()
    yield
    settings.cache_clear()
    keys._key.cache_clear()


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "artifacts", PUBLIC_URL)
    store.set_up()
    return store


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


def key(name: str) -> str:
    return f"a folder/{datetime.datetime.now().timestamp()}/{name}"


def test_an_unused_read_closes_its_file(store: Store) -> None:
    name = key("unread.patch")
    store.put(name, [b"content"])
    with warnings.catch_warnings(record=True) as leaks:
        warnings.simplefilter("always", ResourceWarning)
        chunks = store.read(name)
        del chunks
        gc.collect()
    assert leaks == []


def test_bytes_come_back_as_they_were_put(store: Store) -> None:
    name = key("ünï code+&?.patch")
    content = [b"one\r\n", bytes(range(256)), b"", b"no newline at the end"]
    assert store.stat(name) is None
    assert store.put(name, iter(content)) == len(b"".join(content))
    assert b"".join(store.read(name)) == b"".join(content)
    found = store.stat(name)
    assert found and found.size == len(b"".join(content))
    assert abs(datetime.datetime.now(datetime.UTC) - found.stored_at) < datetime.timedelta(minutes=5)
    store.delete(name)
    store.delete(name)
    assert store.stat(name) is None
    with pytest.raises(FileNotFoundError):
        store.read(name)


def test_content_larger_than_one_part_is_stored_completely(store: Store) -> None:
    name = key("large")
    assert store.put(name, (b"x" * 1000 for _ in range(MANY // 1000 + 1))) == (MANY // 1000 + 1) * 1000
    assert sum(len(chunk) for chunk in store.read(name)) == (MANY // 1000 + 1) * 1000


def test_a_read_starts_at_the_given_offset(store: Store) -> None:
    store.put(name := key("parts"), [b"x" * MANY, b"the rest"])
    assert b"".join(store.read(name, MANY)) == b"the rest"


def test_a_read_ends_at_the_given_offset(store: Store) -> None:
    store.put(name := key("parts"), [b"0123456789"])
    assert [b"".join(store.read(name, *part)) for part in ((0, 4), (3, 7), (9, 10))] == [b"0123", b"3456", b"9"]
    assert b"".join(store.read(name, 7, 100)) == b"789", "as much as there is"


def test_a_large_part_is_read_in_chunks(store: Store) -> None:
    store.put(name := key("large"), [b"x" * MANY])
    chunks = list(store.read(name, 1, MANY - 1))
    assert sum(map(len, chunks)) == MANY - 2 and max(map(len, chunks)) <= CHUNK


def test_an_interrupted_body_means_that_the_store_is_unavailable(s3: Store, server: S3Server) -> None:
    s3.put(name := key("broken"), [b"x" * MANY])
    with breaking(server, after=MANY // 2) as broken:
        chunks = S3Store(BUCKET, broken.url, "us-east-1", path_style=True, public_url=PUBLIC_URL).read(name)
        broken.times = 1
        with pytest.raises(StoreUnavailable):
            for _ in chunks:
                pass
        assert broken.times == 0


def test_an_interrupted_or_too_large_upload_stores_nothing(store: Store) -> None:
    def breaks_off() -> Iterator[bytes]:
        yield b"x" * MANY
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        store.put(name := key("half"), breaks_off())
    with pytest.raises(TooLarge):
        store.put(other := key("large"), iter([b"x" * 11]), limit=10)
    assert store.stat(name) is store.stat(other) is None


def test_a_signed_upload_and_read_work(s3: Store) -> None:
    name = key("file name.txt")
    signed = s3.signed_put(name, "text/plain", length=5, limit=100, seconds=60)
    assert patiently.put(signed.url, content=b"hello", headers=signed.headers).status_code == 200
    assert b"".join(s3.read(name)) == b"hello"
    assert patiently.get(s3.signed_get(name, seconds=60).url).content == b"hello"
    assert patiently.get(s3.signed_get(name, seconds=60).url.replace("file", "other")).status_code == 403
    assert patiently.get(s3.signed_get(name, seconds=60).url).headers["Content-Disposition"] == "attachment"


def test_what_a_bucket_cannot_check_goes_through_the_api(s3: Store) -> None:
    name = key("file.txt")
    unsized = s3.signed_put(name, "text/plain", length=None, limit=100, seconds=60)
    for signed in (unsized, s3.signed_delete(name, seconds=60)):
        assert signed.url.startswith(f"{PUBLIC_URL}/api/v1/blobs/")
    terms = {name: values[0] for name, values in parse_qs(urlsplit(unsized.url).query).items()}
    assert s3.urls.verify("PUT", name, terms)["limit"] == "100"


def _changed(url: str, **terms: str) -> str:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | terms
    return urlunsplit(parts._replace(query=urlencode(query)))


REFUSED: dict[str, Callable[[SignedUrl], httpx.Response]] = {
    "another method": lambda signed: patiently.delete(signed.url),
    "reading": lambda signed: patiently.get(signed.url),
    "another key": lambda signed: patiently.put(
        signed.url.replace("file.txt", "other.txt"), content=b"hello", headers=signed.headers
    ),
    "another type": lambda signed: patiently.put(
        signed.url, content=b"hello", headers={**signed.headers, "Content-Type": "text/html"}
    ),
    "another length": lambda signed: patiently.put(
        signed.url, content=b"hello!", headers={"Content-Type": signed.headers["Content-Type"]}
    ),
    "a longer life": lambda signed: patiently.put(
        _changed(signed.url, **{"X-Amz-Expires": "604000"}), content=b"hello", headers=signed.headers
    ),
    "another signature": lambda signed: patiently.put(
        _changed(signed.url, **{"X-Amz-Signature": "0" * 64}), content=b"hello", headers=signed.headers
    ),
}


@pytest.mark.parametrize("change", REFUSED)
def test_a_signed_upload_is_refused_for(s3: Store, change: str) -> None:
    name = key("file.txt")
    answer = REFUSED[change](s3.signed_put(name, "text/plain", length=5, limit=100, seconds=60))
    assert answer.status_code == 403, answer.text
    assert s3.stat(name) is None


def test_an_expired_signed_upload_is_refused(s3: Store) -> None:
    signed = s3.signed_put(key("late"), "text/plain", length=5, limit=100, seconds=60)
    date = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=10)).strftime("%Y%m%dT%H%M%SZ")
    answer = patiently.put(_changed(signed.url, **{"X-Amz-Date": date}), content=b"hello", headers=signed.headers)
    assert answer.status_code == 403


def test_objects_are_listed_by_prefix_with_their_time(store: Store) -> None:
    folder = f"listed-{datetime.datetime.now().timestamp()}"
    names = [f"{folder}/a/ünï code+&?.patch", f"{folder}/b"]
    for name in (*names, f"{folder}-other/c"):
        store.put(name, [b"x"])
    found = dict(store.list(f"{folder}/"))
    assert sorted(found) == sorted(names)
    now = datetime.datetime.now(datetime.UTC)
    assert all(
        abs(now - stored_at) < datetime.timedelta(minutes=5)
        for stored_at in (stored.stored_at for stored in found.values())
    )
    assert list(store.list("no-such-folder/")) == []


# Faults of the folder.


def assert_away(store: Store, name: str) -> None:
    """Every method of the store reports it."""
    asked: list[Callable[[], object]] = [
        lambda: store.put(name, [b"x"]),
        lambda: store.read(name),
        lambda: store.stat(name),
        lambda: list(store.list("a folder/")),
        lambda: store.delete(name),
    ]
    for ask in asked:
        with pytest.raises(StoreUnavailable):
            ask()


def test_a_store_that_refuses_credentials_is_unavailable(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials may have expired and be renewed soon. No session may fail because of that."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    assert_away(S3Store(BUCKET, server.url, "us-east-1", path_style=True, public_url=PUBLIC_URL), key("a"))


def replace_by_nothing(folder: Path) -> None:
    pass


def replace_by_mount_point(folder: Path) -> None:
    folder.mkdir()


def replace_by_file(folder: Path) -> None:
    folder.write_text("no folder")


@pytest.mark.parametrize("replace", [replace_by_nothing, replace_by_mount_point, replace_by_file])
def test_a_missing_folder_is_unavailable_and_loses_nothing(local: LocalStore, replace: Callable[[Path], None]) -> None:
    local.put(name := key("kept"), [b"kept"])
    elsewhere = local.root.rename(local.root.with_name("elsewhere"))
    replace(local.root)
    assert_away(local, name)

    if local.root.is_dir():
        assert list(local.root.iterdir()) == [], "nothing is written where it would be out of sight"
        local.root.rmdir()
    local.root.unlink(missing_ok=True)
    elsewhere.rename(local.root)
    assert b"".join(local.read(name)) == b"kept"


@needs_mounts
def test_a_full_disk_stores_no_partial_file(local: LocalStore) -> None:
    with small_disk(local.root, megabytes=4):
        local.set_up()
        local.put(kept := key("kept"), [b"kept"])
        (local.root / "other").write_bytes(b"x" * 3 * 1024**2)
        with pytest.raises(StoreUnavailable):
            local.put(name := key("large"), [b"x" * 2 * 1024**2])
        assert local.stat(name) is None and list(local.root.rglob("*.draft")) == []
        assert b"".join(local.read(kept)) == b"kept"

        (local.root / "other").unlink()
        assert local.put(name, [b"x" * 2 * 1024**2]) == 2 * 1024**2


def test_a_key_that_cannot_be_a_file_is_missing(local: LocalStore) -> None:
    local.put(name := key("a"), [b"x"])
    for other in (f"{name}/b", name.rpartition("/")[0], "x" * 300):
        assert local.stat(other) is None
        with pytest.raises(FileNotFoundError):
            local.read(other)


def test_what_a_folder_holds_is_for_our_user_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = LocalStore(tmp_path / "above" / "root", "http://here.test")
        store.set_up()
        store.put("one/two/file", [b"x"])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    finally:
        os.umask(before)
    assert modes.pop("file") == modes.pop(".agent-runners-store") == 0o600
    assert modes == dict.fromkeys(("above", "root", "one", "two"), 0o700)
