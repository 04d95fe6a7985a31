"""Trees, objects and small indexes as we read and write them ourselves: git says the same of each."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matrix import examples
from tests.workers.repositories import commit_all, git, make_origin
from workers.errors import EngineError
from workers.repository.branch_names import check_branch
from workers.repository.git import Git, GitFailed
from workers.repository.index_file import read_index, write_index
from workers.repository.objects import NO_ENTRY, Entry, Objects
from workers.repository.trees import Change, changes, rewrite

EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
ODD = [b"with space", b"tab\there", b"new\nline", b"latin1 \xe9\xff", b'"quoted"', b"x" * 200, b"deep/" * 200 + b"file"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    origin = make_origin(
        tmp_path_factory.mktemp("trees") / "origin", {"a": "a\n", "a.b": "b\n", "f/a": "", "f/g/h": "h"}
    )
    for name in ODD:
        path = os.path.join(os.fsencode(origin), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(name)
    (origin / "link").symlink_to("a")
    (origin / "a").chmod(0o755)
    git(origin, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},module")
    commit_all(origin)
    return origin


@pytest.fixture
def objects(repository: Path) -> Iterator[Objects]:
    made = Objects(Git(repository / ".git"))
    yield made
    made.close()


def tree_of(repository: Path, name: str = "HEAD") -> str:
    return git(repository, "rev-parse", f"{name}^{{tree}}")


def by_git(repository: Path, old: str, new: str) -> set[Change]:
    output = git(repository, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new)
    fields = iter(os.fsencode(output.encode("utf-8", "surrogateescape").decode()).split(b"\0"))
    found = set()
    for field in fields:
        if field:
            old_mode, new_mode, old_id, new_id, _ = field.removeprefix(b":").split(b" ")
            found.add(Change(next(fields), old_mode, new_mode, old_id, new_id))
    return found


def test_a_tree_is_read_as_git_reads_it(repository: Path, objects: Objects) -> None:
    listed = Git(repository / ".git").run("ls-tree", "-z", "HEAD").split(b"\0")[:-1]
    expected = {}
    for line in listed:
        words, _, path = line.partition(b"\t")
        mode, _, name = words.split(b" ")
        expected[path] = Entry(mode.lstrip(b"0"), name)
    assert objects.tree("HEAD^{tree}") == expected
    assert objects.id_of("HEAD^{tree}") == tree_of(repository)
    assert objects.write_tree(expected) == tree_of(repository), "what is written is what git wrote"


def test_what_is_not_there_says_so(objects: Objects) -> None:
    assert list(objects.sizes([b"1" * 40, NO_ENTRY.id])) == [None, None]
    for ask in (objects.tree, objects.id_of):
        with pytest.raises(GitFailed, match="there is no"):
            ask("2" * 40)
    assert objects.tree("HEAD^{tree}"), "later questions are answered"


def test_contents_come_in_order_and_any_number_of_them(repository: Path, objects: Objects) -> None:
    ids = [
        git(repository, "hash-object", "-w", "--stdin", stdin=b"x" * size).encode() for size in (0, 1, 300_000)
    ] * 150
    assert list(objects.sizes(ids)) == [0, 1, 300_000] * 150
    stream = b"".join(piece for _, piece in objects.contents(ids[:6]))
    assert stream.count(b" blob ") == 6 and stream.count(b"x") == 600_002
    half = objects.contents(ids)
    assert next(half)
    half.close()
    assert list(objects.sizes(ids[:1])) == [0], "an answer that was not read does not get into the next one"


@pytest.mark.parametrize("seed", range(12))
def test_changes_and_rewriting_agree_with_git(repository: Path, objects: Objects, seed: int) -> None:
    chance = random.Random(seed)
    base = tree_of(repository)
    blob = git(repository, "rev-parse", "HEAD:a").encode()
    parts = [b"a", b"a.b", b"f", b"g", b"h", b"new", b"link", b"module", b"deep"]
    index = {"GIT_INDEX_FILE": str(repository / f"index-{seed}")}
    git(repository, "read-tree", base, **index)
    files: dict[bytes, Entry | None] = {}
    for _ in range(6):
        path = b"/".join(chance.choices(parts, k=chance.randint(1, 3)))
        if any(each.startswith(path + b"/") or path.startswith(each + b"/") for each in files):
            continue
        files[path] = chance.choice([None, Entry(b"100644", blob), Entry(b"120000", blob), Entry(b"160000", b"3" * 40)])
    for path, entry in sorted(files.items(), key=lambda item: item[1] is not None):
        name = os.fsdecode(path)
        if entry is None:
            git(repository, "update-index", "--force-remove", name, **index)
        else:
            words = ("--add", "--replace", "--cacheinfo", f"{entry.mode.decode()},{entry.id.decode()},{name}")
            git(repository, "update-index", *words, **index)
    expected = git(repository, "write-tree", **index)
    assert rewrite(objects, base, files) == expected
    assert set(changes(objects, base, expected)) == by_git(repository, base, expected)
    assert set(changes(objects, expected, base)) == by_git(repository, expected, base)


def test_a_folder_without_files_is_gone_and_no_change_is_the_same_tree(repository: Path, objects: Objects) -> None:
    base = tree_of(repository)
    without = rewrite(objects, base, {b"f/a": None, b"f/g/h": None, b"not/there": None})
    assert {change.path for change in changes(objects, base, without)} == {b"f/a", b"f/g/h"}
    assert b"f" not in objects.tree(without)
    assert rewrite(objects, base, {b"not/there": None, b"a": objects.tree(base)[b"a"]}) == base
    assert objects.tree(rewrite(objects, without, dict.fromkeys(files_of(objects, without)))) == {}


def files_of(objects: Objects, tree: str) -> list[bytes]:
    return [change.path for change in changes(objects, EMPTY, tree)]


def test_an_index_is_written_and_read_as_git_does(repository: Path, tmp_path: Path) -> None:
    entries = read_index(repository / ".git/index", "sha1")
    listed = Git(repository / ".git", index=repository / ".git/index").run("ls-files", "-s", "-z").split(b"\0")[:-1]
    assert [b"%s %s 0\t%s" % (*each, path) for path, each in entries.items()] == listed
    ours = Git(repository / ".git", index=tmp_path / "index")
    write_index(tmp_path / "index", dict(reversed(entries.items())), "sha1")
    assert ours.line("write-tree") == tree_of(repository)
    write_index(tmp_path / "index", {}, "sha1")
    assert ours.run("ls-files") == b"" and read_index(tmp_path / "index", "sha1") == {}
    assert read_index(tmp_path / "none", "sha1") == {}


NAMES = st.lists(
    st.one_of(st.sampled_from(["/", ".", "..", "@", "@{", "-", ".lock", "HEAD", "refs/", "~", "^", ":", "?", "*", "[", "\\"]),
    st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=examples(60))
@given(NAMES.map("".join))
def test_names_of_branches_are_those_that_git_allows(name: str) -> None:
    try:
        check_branch(name)
        is_allowed = True
    except EngineError as error:
        assert error.code == "repository_refused"
        is_allowed = False
    try:
        git(Path("/"), "check-ref-format", "--branch", name)
        assert is_allowed
    except (AssertionError, ValueError):
        assert not is_allowed


def test_half_a_character_is_no_name() -> None:
    with pytest.raises(EngineError):
        check_branch("\ud800")


@pytest.mark.parametrize("is_reading", [False, True])
def test_its_process_need_not_be_killed_after_a_stop(repository: Path, is_reading: bool) -> None:
    """A worker ignores SIGTERM then, and so does git when it is started. A kill would only come after a long wait."""
    # So many answers fill the pipe that nobody reads.
    questions = b"info HEAD\n" + b"contents HEAD:a\n" * (3000 if is_reading else 0)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Git(repository / ".git").started(("cat-file", "--batch-command"), subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            os.write(process.stdin.fileno(), questions)
            assert b" commit " in process.stdout.readline()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert process.returncode in (0, -signal.SIGPIPE)
