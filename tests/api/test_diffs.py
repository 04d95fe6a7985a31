"""Reading diffs, byte for byte, whole and by pages."""

from __future__ import annotations

import pytest

from tests.api.calling import ok, patch_of, path_of, refused, session_path

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
        refused(api.get(path_of(runner, "/diff")), 404, "no_diff")
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


def test_head_asks_for_the_headers_alone(api, make_done_runner):
    response = api("HEAD", path_of(make_done_runner(), "/diff"))
    assert (response.status_code, response.data) == (200, b"")
