"""Diffs that callers upload: what git writes is taken as it is, what is damaged is refused, and lost newlines are restored."""

from __future__ import annotations

import base64
import random

import pytest

from app.services.artifacts.patch_check import DamagedDiff, whole_diff
from tests.workers.repositories import commit_all, git, make_origin, write

NOISE = random.Random(1).randbytes(20_000)
BEFORE: dict[str, str | bytes] = {
    "text": "".join(f"line {number}\n" for number in range(60)),
    "image": NOISE,
    "old name": "kept\n" * 20,
    "moved": "as it was\n",
    "script": "run\n",
    "gone": "gone\n",
    "no newline": "one",
    "dos": "one\r\ntwo\r\n",
    "link": "a file\n",
}


@pytest.fixture(scope="module")
def diff(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Of all that a diff can hold, written by git itself."""
    origin = make_origin(tmp_path_factory.mktemp("check") / "origin", BEFORE)
    write(origin, {"text": str(BEFORE["text"]).replace("line 3\n", "-- x\n\n").replace("line 50\n", "@@ -1 +1 @@\n")})
    write(
        origin,
        {"image": NOISE[:9000] + b"other" + NOISE[9000:], "new.bin": b"\0" * 100_000, "empty": "", "ünï\tcode": "x\n"},
    )
    write(origin, {"no newline": "two", "dos": "one\r\nthree\r\n", "like a diff": "diff --git a/x b/x\n"})
    (origin / "old name").rename(origin / "new name")
    write(origin, {"new name": "kept\n" * 20 + "more\n"})
    (origin / "moved").rename(origin / "moved away")
    (origin / "script").chmod(0o755)
    (origin / "gone").unlink()
    (origin / "link").unlink()
    (origin / "link").symlink_to("text")
    commit_all(origin)
    git(origin, "update-index", "--add", "--cacheinfo", f"160000,{git(origin, 'rev-parse', 'HEAD')},module")
    git(origin, "commit", "--quiet", "--message", "a submodule")
    made = git(origin, "diff", "--binary", "--full-index", "--find-renames", "HEAD~2", "HEAD").encode() + b"\n"
    for part in (b"\nliteral ", b"\ndelta ", b"rename from", b"160000", b"120000", b"\\ No newline", b'"'):
        assert part in made
    return made


def checked(diff: bytes, size: int = 1 << 20, most: int = 1 << 30, files: int = 1000) -> bytes:
    return b"".join(whole_diff((diff[at : at + size] for at in range(0, len(diff), size)), most, files))


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_a_diff_from_git_is_accepted_in_pieces_of_any_size(diff: bytes, size: int) -> None:
    assert checked(diff, size) == diff
    assert checked(b"", size) == b""


def test_missing_newlines_at_the_end_are_restored(diff: bytes) -> None:
    assert checked(diff.rstrip(b"\n")) == diff
    files = [b"diff --git " + part for part in diff.split(b"diff --git ")[1:] if part.endswith(b"\n")]
    binary = next(file for file in files if b"GIT binary patch" in file)
    assert checked(binary.rstrip(b"\n")) == checked(binary[:-1]) == binary
    assert checked(diff + b"\n\n") == diff + b"\n\n"


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_a_diff_in_base64_is_decoded(diff: bytes, size: int) -> None:
    for coded in (base64.b64encode(diff), base64.encodebytes(diff), base64.b64encode(diff).rstrip(b"=")):
        assert checked(coded, size) == diff
    with pytest.raises(DamagedDiff):
        checked(base64.b64encode(diff)[:-400], size)
    with pytest.raises(DamagedDiff):
        checked(base64.b64encode(diff).replace(b"A", b"*"), size)


def test_a_diff_that_lacks_any_line_of_its_content_is_refused(diff: bytes) -> None:
    lines = diff.splitlines(keepends=True)
    taken = {lines[at] for at in range(len(lines)) if is_taken(b"".join(lines[:at] + lines[at + 1 :]))}
    # What stands above the content of a file is looked at where git is.
    assert {line for line in taken if not line.startswith((*HEADERS, b"\\ "))} == set()


def test_a_diff_that_is_cut_off_within_a_file_is_refused(diff: bytes) -> None:
    lines = diff.splitlines(keepends=True)
    taken = {lines[at] for at in range(1, len(lines)) if is_taken(b"".join(lines[:at]))}
    # Nothing says how many files, and how many hunks of a file, there should be.
    ends = (b"diff --git ", b"@@ ", b"literal ", b"delta ", b"\\ ", b"\n")
    assert {line for line in taken if not line.startswith((*ends, *HEADERS))} == set()


HEADERS = (b"index ", b"old mode", b"new mode", b"new file", b"deleted file", b"rename ", b"similarity")


def is_taken(diff: bytes) -> bool:
    try:
        checked(diff)
    except DamagedDiff:
        return False
    return True


BINARY = (
    b"diff --git a/i b/i\nnew file mode 100644\nindex %s..%s\nGIT binary patch\nliteral 4\nLcmZQzWMT#Y01f~L\n\n"
    % (
        b"0" * 40,
        b"eaf36c1daccfdf325514461cd1a2ffbc139b5464",
    )
)
TEXT = b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (b"this is no diff\n", "line 1"),
        (b"\n" + TEXT, "line 1"),
        (TEXT.replace(b"\n", b"\r\n"), "line 1"),
        (TEXT.replace(b"+1 @@", b"+1,2 @@"), "ends in the middle"),
        (TEXT.replace(b"-1 +1", b"-1,0 +1"), "line 5"),
        (TEXT.replace(b"@@ -", b"@! -"), "line 4"),
        (TEXT.replace(b"+1 @@", b"+1,%s @@" % (b"1" * 5000)), "line 4"),
        (TEXT.replace(b"--- a/f", b"--- a/g"), "another name"),
        (TEXT.replace(b"+++ b/f", b"+++ b/g"), "another name"),
        (TEXT + b"more\n", "line 7"),
        (TEXT + b"-- \n2.39.5\n", "line 7"),
        (TEXT.replace(b"+b", b"b"), "line 6"),
        (b"diff --git a/f b/f\nindex 1234567..89abcde 100644\n", "no content"),
        (b"diff --git a/f b/f\n" + TEXT, "no content"),
        (b"diff --git a/f b/f\nnew file mode 100644\nindex 0000000..89abcde\n", "no content"),
        (b"diff --git a/f b/f\nindex 12345..6789a\nBinary files a/f and b/f differ\n", "git diff --binary"),
        (BINARY.replace(b"literal 4", b"literal 5"), "not complete"),
        (BINARY.replace(b"literal 4", b"literal 3"), "longer"),
        (BINARY.replace(b"literal 4", b"litteral 4"), "line 5"),
        (BINARY.replace(b"WMT#", b"WMT~"), "damaged"),
        (BINARY.replace(b"LcmZ", b"Lcm Z"), "damaged"),
        (BINARY.replace(b"LcmZQ", b"McmZQ"), "damaged"),
        (BINARY.replace(b"LcmZQzWMT#Y01f~L\n", b""), "not complete"),
        (BINARY.replace(b"literal 4", b"literal 4444444444444"), "larger"),
    ],
)
def test_a_damaged_diff_is_refused_with_the_line(damaged: bytes, said: str) -> None:
    with pytest.raises(DamagedDiff, match=said):
        checked(damaged)


def test_binary_files_are_inflated_up_to_a_limit() -> None:
    """Beyond it, git finds out when the diff is applied. What can be read without inflating is checked all the same."""
    most = b"literal %d" % (64 * 1024**2)
    not_zlib = BINARY.replace(b"LcmZQ", b"LQQQQ")
    for diff in (not_zlib, not_zlib.replace(b"literal 4", most), BINARY + not_zlib):
        with pytest.raises(DamagedDiff, match="damaged"):
            checked(diff)
    beyond = BINARY + not_zlib.replace(b"literal 4", most)
    assert checked(beyond) == beyond
    with pytest.raises(DamagedDiff, match="damaged"):
        checked(beyond.replace(b"LQQQQ", b"LQQQ,"))
    # What is not inflated may have been cut anywhere.
    with pytest.raises(DamagedDiff, match="ends in the middle"):
        checked(beyond[:-1])


def test_a_diff_with_more_files_than_allowed_is_refused() -> None:
    assert checked(TEXT * 3, files=3) == TEXT * 3
    with pytest.raises(DamagedDiff, match="line 19: the diff has more files"):
        checked(TEXT * 4, files=3)
