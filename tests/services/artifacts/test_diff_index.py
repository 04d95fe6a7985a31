"""The index of a diff says where its files are, in a folder and in S3."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from app import artifacts
from app.errors import NotFound
from app.services.artifacts import blocks, diff_index, diffs
from app.services.artifacts.diffs import StoredDiff
from tests.matrix import usual
from tests.s3 import S3Server

pytestmark = pytest.mark.xdist_group("s3")
# The stores differ in how parts are read. What is made of them is the same.
of_either_store = pytest.mark.parametrize("store", usual(["local", "s3"]), indirect=True)
FILES = 5000
"""So many that the index is not read with one request."""
PATCH = "diff --git a/{0} b/{0}\nnew file mode 100644\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1,2 @@\n+{0}\n+{0}\n"


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, configured: pytest.MonkeyPatch, configure: Callable[..., None]) -> str:
    """The kind of store that the deployment has."""
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("shared_s3")
        for name, value in server.credentials.items():
            configured.setenv(name, value)
        configure(**server.settings)
    return str(request.param)


@pytest.fixture
def key(store: str) -> str:
    return f"{diffs.SESSIONS}/{uuid.uuid4()}.patch"


def patch(number: int) -> bytes:
    return PATCH.format(f"file {number}").encode()


def test_a_page_of_files_is_found_in_a_diff_of_any_size(key: str) -> None:
    whole = b"".join(map(patch, range(FILES)))
    key = diffs.put(key, lambda: (whole[at : at + 10_000] for at in range(0, len(whole), 10_000)))
    found = StoredDiff(key)
    assert (found.total, found.size) == (FILES, len(whole))
    for page, per_page in ((1, 100), (25, 100), (50, 100), (FILES, 1), (2, 3000)):
        numbers = range((page - 1) * per_page, min(page * per_page, FILES))
        assert b"".join(found.read(*found.span(page, per_page))) == b"".join(map(patch, numbers))
        files = found.files(page, per_page).items
        assert [file.path for file in files] == [f"file {number}" for number in numbers]
        assert {(file.additions, file.size - 5 * len(file.path)) for file in files} == {(2, len(patch(0)) - 30)}
    assert found.span(60, 100) == (len(whole), len(whole))
    assert found.files(60, 100).items == list(found.read(*found.span(60, 100))) == []


@of_either_store
def test_a_diff_of_a_release_without_indexes_gets_one(key: str) -> None:
    artifacts.store().put(key, [patch(1), patch(2)])
    assert [file.path for file in StoredDiff(key).files(1, 100).items] == ["file 1", "file 2"]
    assert artifacts.store().stat(diff_index.key_of(key)) is not None


@of_either_store
def test_an_empty_diff_of_an_earlier_release_has_no_files(key: str) -> None:
    artifacts.store().put(key, [])
    found = StoredDiff(key)
    assert (found.total, found.size, found.files(1, 100).items) == (0, 0, [])
    assert list(found.read(0, found.size)) == []


def damage(key: str, at: int) -> None:
    """Change one byte of a stored object."""
    whole = bytearray(b"".join(artifacts.store().read(key)))
    whole[at] ^= 1
    artifacts.store().put(key, [bytes(whole)])


def test_damage_is_noticed_in_the_part_that_is_read_and_nowhere_else(key: str) -> None:
    key = diffs.put(key, lambda: map(patch, range(FILES)))
    whole = b"".join(map(patch, range(FILES)))
    damage(key, len(whole) // 2)
    found = StoredDiff(key)
    for number in (1, 50):
        assert b"".join(found.read(*found.span(number, 100)))
    with pytest.raises(NotFound) as refused:
        found.read(*found.span(25, 100))
    assert refused.value.error_code == "artifact_damaged"
    assert b"".join(found.read(len(whole) - 10, len(whole))) == whole[-10:]


def test_a_long_part_ends_before_the_damage(key: str) -> None:
    line = b"+" + 99 * b"x" + b"\n"
    whole = patch(0) + line * 30_000
    key = diffs.put(key, lambda: [whole])
    damage(key, len(whole) - 1)
    sent = bytearray()
    with pytest.raises(NotFound):
        for chunk in StoredDiff(key).read(0, len(whole)):
            sent += chunk
    assert 1_000_000 < len(sent) < len(whole) and whole.startswith(sent)


@of_either_store
def test_a_diff_that_is_damaged_gets_no_index(key: str) -> None:
    key = diffs.put(key, lambda: [patch(1)])
    damage(key, 40)
    artifacts.store().delete(diff_index.key_of(key))
    with pytest.raises(NotFound) as refused:
        StoredDiff(key).files(1, 100)
    assert refused.value.error_code == "artifact_damaged"
    assert artifacts.store().stat(diff_index.key_of(key)) is None


@of_either_store
def test_an_index_of_a_release_without_checksums_is_read(key: str) -> None:
    whole = b"".join(map(patch, range(FILES)))
    key = diffs.put(key, lambda: [whole])
    index = b"".join(artifacts.store().read(diff_index.key_of(key)))
    sums = blocks.sums_size(len(whole))
    earlier = b"arindex1" + index[8:24] + index[24 + sums :]
    artifacts.store().put(diff_index.key_of(key), [earlier])
    found = StoredDiff(key)
    for page in (1, 25, 50):
        numbers = range((page - 1) * 100, page * 100)
        assert b"".join(found.read(*found.span(page, 100))) == b"".join(map(patch, numbers))
        assert [file.path for file in found.files(page, 100).items] == [f"file {number}" for number in numbers]
    assert b"".join(artifacts.store().read(diff_index.key_of(key))) == earlier
