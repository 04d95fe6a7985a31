"""Reading diffs, byte for byte, whole and by pages."""

from __future__ import annotations

import base64
import hashlib

import pytest

from app import artifacts
from app.artifacts import LocalStore, StoreUnavailable
from app.config import settings
from app.services.artifacts import diff_index
from app.services.artifacts.blocks import BLOCK
from app.services.artifacts.diffs import SESSIONS
from tests.api.calling import empty, ok, patch_of, path_of, refused, session_path
from tests.stores import is_stored

pytestmark = pytest.mark.same_on_both_databases

BINARY = b"""diff --git a/i.png b/i.png
new file mode 100644
index 0000000000000000000000000000000000000000..eaf36c1daccfdf325514461cd1a2ffbc139b5464
GIT binary patch
literal 4
LcmZQzWMT#Y01f~L

literal 0
HcmV?d00001

"""
ODD = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-\xff\xfe\r\n+\x00\xe9 no newline\n\\ No newline at end of file\n"


def test_bytes_come_back_as_they_were_stored(api, make_done_runner):
    runner = make_done_runner(BINARY + ODD)
    for path in (path_of(runner, "/diff"), session_path(runner, rest="/diff/result")):
        response = api.get(path)
        assert response.data == BINARY + ODD
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_runner_without_a_diff_answers_404(api, make_runner, make_done_runner):
    for runner in (make_runner(), make_done_runner(None)):
        assert "POST revert" in refused(api.get(path_of(runner, "/diff")), 404, "no_diff")["message"]
        refused(api.get(session_path(runner, rest="/diff/result")), 404, "no_diff")
        refused(api.get(session_path(runner, rest="/diff/cumulative")), 404, "no_diff")


def test_result_and_cumulative_differ(api, make_runner, worker):
    runner = make_runner()
    claim = worker.claim(runner["latest_session_id"])
    keys = {f"{kind}_diff_key": worker.store(claim, kind, patch_of(kind)) for kind in ("result", "cumulative")}
    worker.finish(claim, **keys)
    assert api.get(session_path(runner, rest="/diff/result")).text == patch_of("result")
    assert api.get(session_path(runner, rest="/diff/cumulative")).text == patch_of("cumulative")
    assert api.get(path_of(runner, "/diff")).text == patch_of("cumulative")


@pytest.fixture
def seven_files(make_done_runner):
    return make_done_runner("".join(patch_of("diff --git is a header", f"file{n}.txt") for n in range(7)))


def test_pages_are_of_files(api, seven_files):
    path = path_of(seven_files, "/diff")
    assert api.get(path).headers["Total"] == "7"
    first, third = api.get(f"{path}?page=1&per_page=3"), api.get(f"{path}?page=3&per_page=3")
    assert first.headers["Total"] == third.headers["Total"] == "7"
    assert first.text.count("+++ b/") == 3 and third.text == patch_of("diff --git is a header", "file6.txt")
    assert 'rel="next"' in first.headers["Link"] and 'rel="next"' not in third.headers["Link"]
    second = api.get(f"{path}?page=2&per_page=3")
    assert first.text + second.text + third.text == api.get(path).text
    past = api.get(f"{path}?page=9")
    assert (past.status_code, past.data, past.headers["Total"]) == (200, b"", "7")
    refused(api.get(f"{path}?page=0"), 422, "invalid")


def test_a_size_of_page_alone_means_the_first_page(api, seven_files):
    path = path_of(seven_files, "/diff")
    response = api.get(f"{path}?per_page=3")
    assert response.data == api.get(f"{path}?page=1&per_page=3").data
    assert f"{path}?per_page=3&page=2>" in response.headers["Link"]
    assert "per_page=100&" in api.get(f"{path}?per_page=500").headers["Link"]


def test_the_content_of_binaries_may_be_left_out(api, make_done_runner):
    runner = make_done_runner(patch_of("a").encode() + BINARY + patch_of("b", "b.txt").encode())
    for query in ("strip_binary=true", "strip_binary=1&page=1"):
        text = api.get(path_of(runner, f"/diff?{query}")).text
        assert text.count("diff --git") == 3 and "Binary files differ" in text and "literal" not in text
    assert "literal" in api.get(path_of(runner, "/diff?strip_binary=false")).text


def test_a_diff_missing_from_the_store_answers_404(api, make_done_runner, tmp_path):
    runner = make_done_runner()
    for file in (tmp_path / "data" / "artifacts").rglob("*.patch"):
        file.unlink()
    refused(api.get(path_of(runner, "/diff")), 404, "diff_gone")
    assert ok(api.get(path_of(runner)))["has_result_diff"]


def test_a_diff_that_was_cut_off_in_the_store_is_not_served(api, make_done_runner, tmp_path):
    runner = make_done_runner()
    for file in (tmp_path / "data" / "artifacts" / SESSIONS).rglob("*.patch"):
        file.write_bytes(file.read_bytes()[:-10])
    for path in ("/diff", "/diff?page=1", "/diff/files"):
        assert "backup" in refused(api.get(path_of(runner, path)), 404, "artifact_damaged")["message"]


def test_a_diff_whose_bytes_were_changed_is_an_error_of_its_own(api, make_done_runner, tmp_path):
    runner = make_done_runner()
    for file in (tmp_path / "data" / "artifacts" / SESSIONS).rglob("*.patch"):
        file.write_bytes(file.read_bytes().replace(b"one", b"two"))
    for path in ("/diff", "/diff?page=1", "/diff?strip_binary=true"):
        assert "backup" in refused(api.get(path_of(runner, path)), 404, "artifact_damaged")["message"]
    part = api.get(path_of(runner, "/diff"), headers={"Range": "bytes=0-9"})
    assert part.status_code == 404


def test_a_whole_diff_comes_with_its_checksum(api, make_done_runner):
    runner = make_done_runner()
    whole = api.get(path_of(runner, "/diff"))
    digest = base64.b64encode(hashlib.sha256(whole.data).digest()).decode()
    assert whole.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert "Repr-Digest" not in api.get(path_of(runner, "/diff?page=1")).headers


def test_head_asks_for_the_headers_alone(api, make_done_runner):
    response = api("HEAD", path_of(make_done_runner(), "/diff"))
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == str(len(patch_of("one")))


# Files.


@pytest.fixture
def of_all_kinds(make_done_runner):
    renamed = b"diff --git a/old b/new name\nsimilarity index 100%\nrename from old\nrename to new name\n"
    mode = b"diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n"
    odd_name = patch_of("text").replace("a/hello.txt", r'"a/caf\351"').replace("b/hello.txt", r'"b/caf\351"')
    return make_done_runner(BINARY + mode + renamed + odd_name.encode() + ODD)


def test_the_files_of_a_diff_are_listed(api, of_all_kinds):
    whole = api.get(path_of(of_all_kinds, "/diff")).data
    answer = api.get(path_of(of_all_kinds, "/diff/files"))
    files = ok(answer)
    assert answer.headers["Total"] == "5" and 'rel="last"' in answer.headers["Link"]
    listed = [[file[name] for name in ("path", "old_path", "status", "old_mode", "new_mode")] for file in files]
    assert listed == [
        ["i.png", None, "added", None, "100644"],
        ["run.sh", None, "modified", "100644", "100755"],
        ["new name", "old", "renamed", None, None],
        [r'"caf\351"', None, "added", None, "100644"],
        ["x", None, "modified", None, None],
    ]
    assert [[file["binary"], file["additions"], file["deletions"]] for file in files] == [
        [True, 0, 0],
        [False, 0, 0],
        [False, 0, 0],
        [False, 1, 0],
        [False, 1, 1],
    ]
    assert b"".join(whole[file["offset"] : file["offset"] + file["size"]] for file in files) == whole


def test_files_are_listed_in_pages(api, seven_files):
    path = path_of(seven_files, "/diff/files")
    page = api.get(f"{path}?page=2&per_page=3")
    assert [file["path"] for file in ok(page)] == ["file3.txt", "file4.txt", "file5.txt"]
    assert page.headers["Total"] == "7" and "page=3" in page.headers["Link"]
    assert ok(api.get(f"{path}?page=9&per_page=3")) == []
    refused(api.get(f"{path}?cursor="), 422, "invalid")
    refused(api.get(path_of(seven_files, "/diff/files?page=0")), 422, "invalid")


def test_the_files_of_both_diffs_of_a_session_are_listed(api, make_runner, worker):
    runner = make_runner()
    claim = worker.claim(runner["latest_session_id"])
    keys = {f"{kind}_diff_key": worker.store(claim, kind, patch_of(kind, kind)) for kind in ("result", "cumulative")}
    worker.finish(claim, **keys)
    for query, path in (("", "result"), ("?kind=result", "result"), ("?kind=Cumulative", "cumulative")):
        assert [file["path"] for file in ok(api.get(session_path(runner, rest=f"/diff/files{query}")))] == [path]
    refused(api.get(session_path(runner, rest="/diff/files?kind=other")), 422, "invalid")


def test_files_of_a_diff_that_is_not_there_answer_404(api, make_runner):
    runner = make_runner()
    refused(api.get(path_of(runner, "/diff/files")), 404, "no_diff")
    refused(api.get(session_path(runner, rest="/diff/files")), 404, "no_diff")


# What is not sent again, or only in part.


def test_a_diff_that_the_caller_has_is_not_sent_again(api, make_done_runner):
    runner = make_done_runner()
    for path in (path_of(runner, "/diff"), path_of(runner, "/diff?page=1"), session_path(runner, rest="/diff/result")):
        first = api.get(path)
        assert first.headers["Cache-Control"] == "private, no-cache"
        tag = first.headers["ETag"]
        for sent in (tag, f'"other", W/{tag}', "*"):
            again = api.get(path, headers={"If-None-Match": sent})
            empty(again, 304)
            assert again.headers["ETag"] == tag
        assert api.get(path, headers={"If-None-Match": '"other"'}).data == first.data
    ok(api.patch(path_of(runner), {"result_diff": patch_of("two")}))
    changed = api.get(path_of(runner, "/diff"), headers={"If-None-Match": tag})
    assert changed.text == patch_of("two") and changed.headers["ETag"] != tag


def test_a_range_of_a_diff_is_one_file(api, seven_files):
    path = path_of(seven_files, "/diff")
    whole = api.get(path)
    assert whole.headers["Accept-Ranges"] == "bytes"
    for file in ok(api.get(path_of(seven_files, "/diff/files"))):
        first, last = file["offset"], file["offset"] + file["size"] - 1
        part = api.get(path, headers={"Range": f"bytes={first}-{last}", "If-Range": whole.headers["ETag"]})
        assert (part.status_code, part.text) == (206, patch_of("diff --git is a header", file["path"]))
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole.data)}"
        assert part.headers["Content-Length"] == str(file["size"])


def test_ranges_count_from_the_end_and_within_a_page(api, seven_files):
    path = path_of(seven_files, "/diff")
    assert api.get(path, headers={"Range": "bytes=-7"}).text == api.get(path).text[-7:]
    page = f"{path}?page=2&per_page=3"
    assert api.get(page, headers={"Range": "bytes=5-9"}).text == api.get(page).text[5:10]
    assert api.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).status_code == 200


RANGES = ["bytes=100000-", "bytes=5-1", "lines=1-2", "bytes=0-1,5-6"]


def test_an_impossible_range_is_refused(api, make_done_runner):
    runner = make_done_runner()
    for part in RANGES:
        response = api.get(path_of(runner, "/diff"), headers={"Range": part})
        refused(response, 416, "range_not_satisfiable")
        assert response.headers["Content-Range"] == f"bytes */{len(patch_of('one'))}"


def test_an_error_is_never_taken_from_a_cache(api, make_done_runner):
    assert api.get(path_of(make_done_runner(None), "/diff")).headers["Cache-Control"] == "no-store"


# The index.


class CountingStore(LocalStore):
    """It remembers which parts of diffs were read."""

    def __init__(self):
        super().__init__(settings().artifacts, settings().public_url)
        self.parts = []

    def read(self, key, start=0, end=None):
        if key.endswith(".patch") and not key.startswith(diff_index.FOLDER):
            self.parts.append((start, end))
        return super().read(key, start, end)


def test_a_page_is_read_and_nothing_else(api, make_done_runner, monkeypatch):
    runner = make_done_runner("".join(patch_of("x" * 1000, f"file{number:05}.txt") for number in range(3000)))
    size = len(patch_of("x" * 1000, "file00000.txt"))
    store = CountingStore()
    monkeypatch.setattr(artifacts, "store", lambda: store)
    for page in (1, 150, 300):
        response = api.get(path_of(runner, f"/diff?page={page}&per_page=10"))
        assert response.text == "".join(
            patch_of("x" * 1000, f"file{number:05}.txt") for number in range(page * 10 - 10, page * 10)
        )
        # Whole blocks, each of which has a checksum.
        first, last = store.parts.pop()
        assert first <= (page - 1) * 10 * size < page * 10 * size <= last < first + 10 * size + 2 * BLOCK
        assert len(ok(api.get(path_of(runner, f"/diff/files?page={page}&per_page=10")))) == 10
    assert store.parts == []


@pytest.fixture
def indexes(monkeypatch):
    """The keys of the indexes that are stored from here on."""
    stored = []
    put = diff_index.store

    def note(key, index):
        stored.append(diff_index.key_of(key))
        put(key, index)

    monkeypatch.setattr(diff_index, "store", note)
    return stored


def test_every_diff_is_stored_with_its_index(api, make_done_runner, indexes):
    runner = make_done_runner()
    ok(api.patch(path_of(runner), {"result_diff": patch_of("two")}))
    assert len(indexes) == 3 and all(map(is_stored, indexes))
    ok(api.get(path_of(runner, "/diff/files")))
    assert len(indexes) == 3


@pytest.mark.parametrize("left", [None, b"", b"an index of another kind"])
def test_a_diff_without_a_usable_index_gets_one_when_it_is_read(api, seven_files, indexes, left):
    files = ok(api.get(path_of(seven_files, "/diff/files")))
    for path in (settings().artifacts / diff_index.FOLDER).rglob("*.patch"):
        path.unlink() if left is None else path.write_bytes(left)
    for _ in range(2):
        assert ok(api.get(path_of(seven_files, "/diff/files"))) == files
        last = api.get(path_of(seven_files, "/diff?page=7&per_page=1"))
        assert last.text == patch_of("diff --git is a header", "file6.txt")
    assert len(indexes) == 1 and is_stored(indexes[0])


def test_a_diff_whose_index_cannot_be_stored_is_complete(api, make_done_runner, monkeypatch):
    class Picky(LocalStore):
        def put(self, key, chunks, *, limit=None):
            if key.startswith(diff_index.FOLDER):
                raise StoreUnavailable("no room")
            return super().put(key, chunks, limit=limit)

    store = Picky(settings().artifacts, settings().public_url)
    with monkeypatch.context() as patched:
        patched.setattr(artifacts, "store", lambda: store)
        runner = make_done_runner()
        ok(api.patch(path_of(runner), {"result_diff": patch_of("two")}))
        assert api.get(path_of(runner, "/diff")).text == patch_of("two")
        assert [file["additions"] for file in ok(api.get(path_of(runner, "/diff/files")))] == [1]
    assert ok(api.get(path_of(runner, "/diff/files")))
    assert len(list((settings().artifacts / diff_index.FOLDER).rglob("*.patch"))) == 1
