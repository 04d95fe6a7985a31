"""The index of a diff says where its files are, in a folder and in S3."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from app import artifacts
from app.services.artifacts import diff_index, diffs
from app.services.artifacts.diffs import StoredDiff
from tests.s3 import S3Server

pytestmark = pytest.mark.xdist_group("s3")
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


def test_a_diff_of_a_release_without_indexes_gets_one(key: str) -> None:
    artifacts.store().put(key, [patch(1), patch(2)])
    assert [file.path for file in StoredDiff(key).files(1, 100).items] == ["file 1", "file 2"]
    assert artifacts.store().stat(diff_index.key_of(key)) is not None


def test_an_empty_diff_of_an_earlier_release_has_no_files(key: str) -> None:
    artifacts.store().put(key, [])
    found = StoredDiff(key)
    assert (found.total, found.size, found.files(1, 100).items) == (0, 0, [])
    assert list(found.read(0, found.size)) == []
