"""The files of a diff are those that git finds in it, for names and contents of any bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.models.states import FileStatus
from app.services.artifacts.diff_files import DiffFile, DiffReader, without_binary
from tests.matrix import examples
from tests.workers.repositories import ENVIRONMENT, git

Tree = dict[bytes, tuple[bytes, bytes]]
"""The mode and the content of each file."""

LINES = b"".join(b"line %d\n" % number for number in range(40))
NAMES = [
    *(b"plain", b" ", b"two words", b"a b/c", b"end ", b"tab\t", b"new\nline", b'"quoted"', b'"', b"back\\slash"),
    *("ünï".encode(), b"caf\xe9", b"\xff\xfe", b"\x01\x7f", b"-dash", b"dev/null", b"a b b", b"a/b b/c", b"b/x b"),
]
CONTENTS = [
    *(
        b"",
        b"\n",
        b"no newline",
        b"++ b/x\n-- a/x\n",
        b"diff --git a/x b/x\n@@ -1 +1 @@\nGIT binary patch\n",
        b"\r\n\r",
    ),
    *(
        LINES,
        LINES.replace(b"line 7\n", b"line seven\n"),
        LINES + b"\0",
        b"\0" * 3000,
        bytes(range(256)) * 20,
        b"x" * 300,
    ),
]
STATUSES = {b"A": FileStatus.ADDED, b"D": FileStatus.DELETED, b"M": FileStatus.MODIFIED, b"R": FileStatus.RENAMED}
SUBMODULES = [b"1" * 40, b"2" * 40]


def is_name(name: bytes) -> bool:
    return b"\0" not in name and name.strip(b".") != b"" and not name.lower().startswith(b".git")


names = st.sampled_from(NAMES) | st.binary(min_size=1, max_size=6).map(lambda name: name.replace(b"/", b"")).filter(
    is_name
)
blobs = st.tuples(
    st.sampled_from([b"100644", b"100755", b"120000"]), st.sampled_from(CONTENTS) | st.binary(max_size=40)
)
entries = blobs | st.tuples(st.just(b"160000"), st.sampled_from(SUBMODULES))
# A name is a folder in one tree and a file in the other, at most.
trees = st.dictionaries(names, entries, max_size=6).filter(
    lambda tree: not any(name.startswith(other + b"/") for name in tree for other in tree)
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diffs")
    git(folder, "init", "--quiet")
    return folder


def run(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, input=stdin, env=ENVIRONMENT, capture_output=True, check=True).stdout


def commit(branch: bytes, tree: Tree) -> Iterator[bytes]:
    """A commit for `git fast-import`."""
    yield b"commit refs/heads/%s\ncommitter A <a@example.org> 0 +0000\ndata 0\ndeleteall\n" % branch
    for name, (mode, content) in tree.items():
        quoted = b"".join(b"\\%03o" % byte for byte in name)
        if mode == b"160000":
            yield b'M 160000 %s "%s"\n' % (content, quoted)
        else:
            yield b'M %s inline "%s"\ndata %d\n%s\n' % (mode, quoted, len(content), content)


def make_diff(repository: Path, old: Tree, new: Tree, *format: str) -> bytes:
    return run(repository, "diff", "--full-index", "--find-renames", *format, "old", "new", "--")


def found_in(diff: bytes, sizes: list[int] | None = None) -> list[DiffFile]:
    """The files of the diff, read in chunks of these sizes again and again."""
    reader, files, at, number = DiffReader(), list[DiffFile](), 0, 0
    while at < len(diff):
        size = sizes[number % len(sizes)] if sizes else len(diff)
        files += reader.read(diff[at : at + size])
        at, number = at + size, number + 1
    files += reader.end()
    assert reader.size == len(diff)
    return files


def assert_cut(diff: bytes, files: list[DiffFile]) -> None:
    """The files are the diff, cut into pieces."""
    assert b"".join(diff[file.offset : file.offset + file.size] for file in files) == diff
    assert all(file.size > 0 for file in files)


def shown(name: bytes) -> str:
    """How the API shows the name."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = '"'
    if not text.startswith('"'):
        return text
    special = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}
    letters = [
        f"\\{special[byte]}" if byte in special else chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in name
    ]
    return f'"{"".join(letters)}"'


def changes(raw: bytes) -> Iterator[tuple[FileStatus, str | None, str | None, str | None, str]]:
    """What `git diff --raw -z` says: status, modes, old path and path of each file that the diff has."""
    fields = iter(raw.split(b"\0")[:-1])
    for about in fields:
        old_mode, new_mode, old_id, new_id, status = about[1:].split(b" ")
        path = next(fields)
        old, new = old_mode.decode(), new_mode.decode()
        if status == b"T":
            # A file of another type is removed, and added.
            yield FileStatus.DELETED, old, None, None, shown(path)
            yield FileStatus.ADDED, None, new, None, shown(path)
        elif status.startswith(b"R"):
            differs = old_mode != new_mode or old_id != new_id
            yield (
                FileStatus.RENAMED,
                old if differs else None,
                new if differs else None,
                shown(path),
                shown(next(fields)),
            )
        else:
            kind = STATUSES[status]
            yield (
                kind,
                None if kind == FileStatus.ADDED else old,
                None if kind == FileStatus.DELETED else new,
                None,
                shown(path),
            )


def counts(repository: Path, diff: bytes) -> Iterator[tuple[int, int, bool, str]]:
    """What git itself reads in the diff: added and deleted lines, whether it is binary, and the path of each file."""
    for line in run(repository, "apply", "--numstat", "-z", stdin=diff).split(b"\0")[:-1] if diff else ():
        added, deleted, path = line.split(b"\t", 2)
        is_binary = added == b"-"
        yield 0 if is_binary else int(added), 0 if is_binary else int(deleted), is_binary, shown(path)


@settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=trees, new=trees, sizes=st.lists(st.integers(1, 200), min_size=1, max_size=4), renames=st.booleans())
def test_the_files_of_a_diff_are_those_that_git_finds(
    repository: Path, old: Tree, new: Tree, sizes: list[int], renames: bool
) -> None:
    if renames:
        # Files whose name alone changes, and some that stay.
        new = {**new, **{b"moved " + name: entry for name, entry in old.items()}}
    run(repository, "fast-import", "--quiet", "--force", stdin=b"".join([*commit(b"old", old), *commit(b"new", new)]))
    diff = make_diff(repository, old, new, "--binary")
    files = found_in(diff)
    assert_cut(diff, files)
    assert all(diff.startswith(b"diff --git ", file.offset) for file in files)
    listed = [(file.status, file.old_mode, file.new_mode, file.old_path, file.path) for file in files]
    assert listed == list(changes(make_diff(repository, old, new, "--raw", "-z", "--abbrev=40")))
    counted = [(file.additions, file.deletions, file.binary, file.path) for file in files]
    assert counted == list(counts(repository, diff))
    assert found_in(diff, sizes) == files


PIECES = [
    *(
        b"diff --git ",
        b"diff --git a/x b/x\n",
        b"\ndiff --git ",
        b"GIT binary patch\n",
        b"@@ -1 +1 @@\n",
        b"\n",
        b"+",
        b"-",
    ),
    *(
        b"index 1..2 100644\n",
        b"--- a/x\n",
        b"+++ ",
        b'"',
        b"\\",
        b"\\777",
        b"rename to x\n",
        b"copy from y\n",
        b"\r",
        b"\xff",
    ),
    *(b"@@ -0,0 +1,3 @@\n", b"@@ -1 +0,0 @@\n", b"@@ -0,0 +1,%s @@\n" % (b"1" * 5000), b"new file mode 1\n"),
    *(b"literal 4\nLcmZQzWMT#Y01f~L\n\n", b"old mode \n", b"new file mode x y\n", b"/dev/null\n", b"\0" * 50),
]
pieces = st.lists(st.sampled_from(PIECES) | st.binary(max_size=5), max_size=40).map(b"".join)


@settings(max_examples=examples(300))
@given(content=pieces, sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_any_bytes_are_cut_without_gaps(content: bytes, sizes: list[int]) -> None:
    files = found_in(content)
    assert_cut(content, files)
    assert found_in(content, sizes) == files


@settings(max_examples=examples(300))
@given(content=pieces, sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_binary_patches_are_left_out_in_chunks_of_any_size(content: bytes, sizes: list[int]) -> None:
    chunks, at, number = [], 0, 0
    while at < len(content):
        size = sizes[number % len(sizes)]
        chunks.append(content[at : at + size])
        at, number = at + size, number + 1
    assert b"".join(without_binary(chunks)) == b"".join(without_binary([content]))


def test_a_line_longer_than_any_buffer_is_counted_once() -> None:
    long = b"+" + b"x" * 300_000 + b"\n"
    file = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,0 +1,2 @@\n" + long + b"-y\n"
    for sizes in ([1000], [65_536], [1 << 20]):
        first, second = found_in(file * 2, sizes)
        assert (first.additions, first.deletions, first.path) == (1, 1, "x")
        assert (second.offset, second.size) == (len(file), len(file))


def test_a_header_longer_than_any_buffer_costs_no_memory_and_no_file() -> None:
    junk = b"diff --git a/x b/x\n" + b"similarity index 100%\n" * 50_000
    first, second = found_in(junk + b"diff --git a/y b/y\nold mode 100644\nnew mode 100755\n", [4096])
    assert (first.path, first.size, second.path) == ("x", len(junk), "y")


def test_other_prefixes_and_a_missing_mode_are_read() -> None:
    diff = b"diff --git i/a w/a\nindex 10ddd6d..a5c1966\n--- i/a\n+++ w/a\n@@ -1 +1 @@\n-a\n+b\n"
    (file,) = found_in(diff)
    assert (file.path, file.old_mode, file.new_mode) == ("a", None, None)


def test_a_copy_names_what_it_was_copied_from() -> None:
    (file,) = found_in(b"diff --git a/x b/y\nsimilarity index 100%\ncopy from x\ncopy to y\n")
    assert (file.status, file.old_path, file.path) == (FileStatus.COPIED, "x", "y")
