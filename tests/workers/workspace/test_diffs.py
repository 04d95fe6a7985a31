"""What a diff must survive: plain git makes, of the stored bytes and the base, the very tree that the agent left."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from tests.matrix import FULL
from tests.processes import each_process
from tests.workers.git_versions import can_be_undone
from tests.workers.repositories import (
    Sink,
    applied,
    commit_all,
    finish,
    following,
    git,
    make_host,
    make_job,
    make_origin,
    names,
    prepare,
    prepare_for_hosts,
    stored_diffs,
    write,
)
from workers.errors import EngineError
from workers.job import DiffKind, Host, Limits
from workers.workspace import diffs
from workers.workspace.workspace import Workspace

BINARY = bytes(range(256)) * 40
LINES = "".join(f"line {number}\n" for number in range(100))
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
SUBMODULE = "1" * 40

BASE: dict[str, str | bytes] = {
    "text": LINES,
    "binary.bin": BINARY,
    "crlf.txt": "one\r\ntwo\r\n",
    "mixed.txt": "one\r\ntwo\n\rthree",
    "no newline": "no newline at the end",
    "latin1.txt": b"caf\xe9\n",
    "utf16.txt": "text\n".encode("utf-16"),
    "script.sh": "#!/bin/sh\n",
    "folder/a": "a\n",
    "folder/b": "b\n",
    "big.lfs": POINTER,
    "ident.c": "$Id$\n",
    ".gitattributes": "*.txt text eol=crlf\n*.c ident\n*.lfs filter=lfs diff=lfs merge=lfs -text\n"
    "utf16.txt working-tree-encoding=UTF-16\n*.bin diff=exif\nfolder/* export-ignore -diff\n",
}


def base_repository(folder: Path, copies: Sequence[str] = ()) -> Path:
    """A repository of the base, and of a copy of it in each of some folders. What an edit moves has a content of its own in
    each copy, so that git finds where it was moved from."""
    files = {name: content.encode() if isinstance(content, str) else content for name, content in BASE.items()}
    entries = [(b"100644", name, content) for name, content in files.items()] + [(b"120000", "link", b"text")]
    for copy in copies:
        for name, content in files.items():
            is_moved = name in ("text", "binary.bin", "folder/a", "folder/b")
            own = content.replace(b"\n", b" of %s\n" % copy.encode()) if is_moved else content
            entries.append((b"100644", f"{copy}/{name}", own))
        entries.append((b"120000", f"{copy}/link", b"text of " + copy.encode()))
    # Made below the level of `add`, so that no conversion happens on the way into the base.
    stream = b"commit refs/heads/main\ncommitter A <a@example.org> 0 +0000\ndata 0\n"
    for mode, path, content in entries:
        stream += b'M %s inline "%s"\ndata %d\n%s\n' % (mode, path.encode(), len(content), content)
    stream += f"M 160000 {SUBMODULE} module\n".encode()
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main", "--template=")
    git(folder, "fast-import", "--quiet", stdin=stream)
    git(folder, "read-tree", "HEAD")
    prepare_for_hosts(folder)
    return folder


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_repository(tmp_path_factory.mktemp("base") / "origin")


@pytest.fixture(scope="module")
def copies(origin: Path) -> Path:
    return base_repository(origin.with_name("copies"), COPIES)


@pytest.fixture
def host(origin: Path, tmp_path: Path) -> Host:
    return make_host(tmp_path / "work", local_repositories=origin.parent)


def _change_text(folder: Path, change: Callable[[str], str]) -> None:
    (folder / "text").write_text(change((folder / "text").read_text()))


def edit_text(folder: Path) -> None:
    _change_text(folder, lambda text: text.replace("line 50", "line fifty") + "more\n")


def edit_binary(folder: Path) -> None:
    binary = (folder / "binary.bin").read_bytes()
    (folder / "binary.bin").write_bytes(binary[:500] + b"\0changed\r\n" + binary[500:])
    (folder / "new.bin").write_bytes(random.Random(1).randbytes(20_000))


def rename(folder: Path) -> None:
    (folder / "text").rename(folder / "renamed")
    (folder / "binary.bin").rename(folder / "folder" / "other name.bin")


def rename_and_edit(folder: Path) -> None:
    (folder / "text").rename(folder / "renamed")
    with (folder / "renamed").open("a") as file:
        file.write("and more\n")


def copy(folder: Path) -> None:
    shutil.copy(folder / "text", folder / "copy")
    shutil.copy(folder / "binary.bin", folder / "copy.bin")


def change_mode(folder: Path) -> None:
    (folder / "script.sh").chmod(0o755)


def symlinks(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("folder/b")
    (folder / "dangling").symlink_to("no/such\nplace")
    (folder / "outside").symlink_to("/etc/passwd")


def file_to_symlink_and_back(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").write_text("a file now\n")
    (folder / "text").unlink()
    (folder / "text").symlink_to("folder")


def folder_to_symlink(folder: Path) -> None:
    shutil.rmtree(folder / "folder")
    (folder / "folder").symlink_to("/etc")


def folder_to_renamed_symlink(folder: Path) -> None:
    shutil.rmtree(folder / "folder")
    (folder / "link").rename(folder / "folder")


def renamed_symlink_to_folder(folder: Path) -> None:
    (folder / "link").rename(folder / "elsewhere")
    write(folder, {"link/inside": "x\n"})


def file_to_folder(folder: Path) -> None:
    text = (folder / "text").read_text()
    (folder / "text").unlink()
    write(folder, {"text/inside": text, "text/deeper/still": "x\n"})


def folder_to_file(folder: Path) -> None:
    content = (folder / "folder" / "a").read_text()
    shutil.rmtree(folder / "folder")
    (folder / "folder").write_text(content)


def new_empty_file(folder: Path) -> None:
    (folder / "empty").touch()
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "empty").touch()


def delete(folder: Path) -> None:
    (folder / "text").unlink()
    (folder / "binary.bin").unlink()
    (folder / "link").unlink()
    shutil.rmtree(folder / "folder")


def delete_everything(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def delete_submodule(folder: Path) -> None:
    (folder / "module").rmdir()


def edit_lfs_pointer(folder: Path) -> None:
    (folder / "big.lfs").write_text(POINTER.replace("a" * 64, "b" * 64))
    (folder / "new.lfs").write_text(POINTER)


def edit_crlf(folder: Path) -> None:
    (folder / "crlf.txt").write_bytes(b"one\r\n2\r\nthree\n")
    (folder / "mixed.txt").write_bytes(b"one\ntwo\r\n\r\r\nthree\r")
    (folder / "new.txt").write_bytes(b"a\r\nb\n")


def edit_encodings(folder: Path) -> None:
    (folder / "latin1.txt").write_bytes(b"th\xe9\n")
    (folder / "utf16.txt").write_bytes("other\n".encode("utf-16"))
    (folder / "ident.c").write_text("$Id: mine $\nint x;\n")


def newline_at_the_end(folder: Path) -> None:
    (folder / "no newline").write_text("still no newline\nat the end")
    _change_text(folder, lambda text: text.rstrip("\n"))
    (folder / "one byte").write_bytes(b"x")


def trailing_whitespace(folder: Path) -> None:
    _change_text(folder, lambda text: "line 0  \t\n \n\n\n" + text + "\n\n   ")


def strange_names(folder: Path) -> None:
    for name in (
        b"with space",
        b" leading",
        b"trailing ",
        b'double"quote',
        b"single'quote",
        b"tab\there",
        b"new\nline",
        b"back\\slash",
        b"-option",
        b"--",
        b"a => b",
        b"{brace",
        b"*.glob",
        b":(top)magic",
        b"\xc3\xa9t\xc3\xa9",
        b"e\xcc\x81 decomposed",
        b"latin1 \xe9\xff",
        b"\x01control\x7f",
        b"b/a/b",
        b"dev/null",
        b"C:",
    ):
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"content of " + name + b"\n")
    # Headers with these names alone, which git writes in a way that it cannot read.
    write(folder, {"folder /empty": "", "folder /deeper /binary": b"\0x", " /empty": ""})


def rename_to_strange_names(folder: Path) -> None:
    os.rename(folder / "text", os.path.join(os.fsencode(folder), b't\xe9xt \t"quoted" \xc3\xa9'))


def lines_like_a_diff(folder: Path) -> None:
    lines = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-- \n2.39\n\\ No newline\n"
    _change_text(folder, lambda text: text + lines)


def long_file(folder: Path) -> None:
    lines = [f"line {number} {number * 7919 % 1000} {'x' * 80}\n" for number in range(5_000)]
    (folder / "long").write_text("".join(lines))


# Each edit is in one of these. Those of a group touch different files, and each group is done in a copy of the base.
GROUPS: list[list[Callable[[Path], None]]] = [
    [edit_text, edit_binary, change_mode, symlinks],
    [edit_crlf, edit_encodings, edit_lfs_pointer],
    [rename_and_edit, new_empty_file],
    [file_to_folder, folder_to_file, long_file],
    [copy],
    [newline_at_the_end],
    [trailing_whitespace],
    [rename_to_strange_names],
    [lines_like_a_diff],
]
# Diffs with most of these are made without renames. Some versions of git do not undo the others.
ODD_GROUPS: list[list[Callable[[Path], None]]] = [
    [renamed_symlink_to_folder],
    [file_to_symlink_and_back],
    [folder_to_renamed_symlink],
    [folder_to_symlink],
    [delete],
]
COPIES = [f"copy {number}" for number in range(len(GROUPS))]


def edit_everywhere(folder: Path) -> None:
    for name, edits in zip(COPIES, GROUPS, strict=True):
        for edit in edits:
            edit(folder / name)
    rename(folder)
    strange_names(folder)


def edit_oddly(folder: Path) -> None:
    for name, edits in zip(COPIES, ODD_GROUPS, strict=False):
        for edit in edits:
            edit(folder / name)
    delete_submodule(folder)


EVERY_EDIT = [rename, strange_names, delete_submodule, *(edit for edits in GROUPS + ODD_GROUPS for edit in edits)]
# What is done in one session. `bin/test --full` does each edit alone, which tells which of them fails.
EDITS = [*(EVERY_EDIT if FULL else [edit_everywhere, edit_oddly]), delete_everything]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_diff_survives(edit: Callable[[Path], None], host: Host, copies: Path, tmp_path: Path) -> None:
    job = make_job(copies)
    workspace = prepare(job, host)
    edit(workspace.checkout)
    tree = finish(workspace, job)
    assert tree != workspace.start_tree
    diff = stored_diffs(job)["cumulative"]
    assert applied(copies, workspace.base_sha, diff) == tree
    if can_be_undone(diff):
        assert applied(copies, workspace.base_sha, diff, undone=diff) == workspace.start_tree
    assert stored_diffs(job)["result"] == diff
    if edit is rename:
        assert b"\nrename from text\nrename to renamed\n" in diff
    if edit is edit_everywhere:
        assert can_be_undone(diff) and b"\nrename from copy 2/text\nrename to copy 2/renamed\n" in diff

    # Another host, which has seen nothing of the first, goes on from the stored bytes alone.
    elsewhere = make_host(tmp_path / "elsewhere", local_repositories=copies.parent)
    next_job = following(job, 2)
    follow_up = prepare(next_job, elsewhere)
    assert follow_up.start_tree == tree
    assert follow_up.snapshot() == tree
    assert sorted(_listing(follow_up.checkout)) == sorted(_listing(workspace.checkout))
    workspace.dispose()
    follow_up.dispose()


def _listing(folder: Path) -> Iterable[tuple[bytes, bytes]]:
    """Each path with its bytes, or with what its link says; empty folders and the agent's repository left out."""
    for parent, folders, files in os.walk(os.fsencode(folder)):
        if b".git" in folders:
            folders.remove(b".git")
        for name in files + [name for name in folders if os.path.islink(os.path.join(parent, name))]:
            path = os.path.join(parent, name)
            is_link = os.path.islink(path)
            yield (
                os.path.relpath(path, os.fsencode(folder)),
                os.readlink(path) if is_link else Path(os.fsdecode(path)).read_bytes(),
            )


def test_a_checkout_is_the_base_byte_for_byte(host: Host, origin: Path) -> None:
    workspace = prepare(make_job(origin), host)
    for name, content in BASE.items():
        data = content.encode() if isinstance(content, str) else content
        assert (workspace.checkout / name).read_bytes() == data, name
    assert workspace.snapshot() == workspace.start_tree == git(origin, "rev-parse", "HEAD^{tree}")


def test_a_submodule_pointer_that_an_earlier_session_moved_survives(host: Host, origin: Path) -> None:
    patch = (
        f"diff --git a/module b/module\nindex {SUBMODULE}..{'2' * 40} 160000\n--- a/module\n+++ b/module\n"
        f"@@ -1 +1 @@\n-Subproject commit {SUBMODULE}\n+Subproject commit {'2' * 40}\n"
    ).encode()
    job = make_job(origin, start_diff=lambda: iter([patch]))
    workspace = prepare(job, host)
    write(workspace.checkout, {"module/checked/out": "a file of the module\n", "text": "changed\n"})
    tree = finish(workspace, job)
    assert f"160000 commit {'2' * 40}\tmodule" in git(workspace.git.directory, "ls-tree", tree)
    assert applied(origin, workspace.base_sha, stored_diffs(job)["cumulative"]) == tree
    assert applied(origin, workspace.base_sha, patch, stored_diffs(job)["result"]) == tree


def test_thousands_of_files_make_one_diff(host: Host, origin: Path) -> None:
    job = make_job(origin)
    workspace = prepare(job, host)
    count = 5_000 if FULL else 2_000
    for number in range(count):
        path = workspace.checkout / f"many/{number // 500}/{number}"
        if number < 200 or number % 500 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}\n")
        else:
            # Links are made much faster than files, and are files to git.
            os.link(workspace.checkout / f"many/0/{number % 200}", path)
    tree = finish(workspace, job)
    assert len(names(workspace, tree)) == count + len(BASE) + 2
    index = {"GIT_INDEX_FILE": str(workspace.root / "index")}
    git(workspace.git.directory, "read-tree", workspace.base_sha, **index)
    git(workspace.git.directory, "apply", "--cached", "--binary", stdin=stored_diffs(job)["cumulative"], **index)
    assert git(workspace.git.directory, "write-tree", **index) == tree


def test_result_and_cumulative_tell_one_session_from_all(host: Host, origin: Path) -> None:
    first = make_job(origin)
    workspace = prepare(first, host)
    write(workspace.checkout, {"first": "1\n", "text": "first\n"})
    finish(workspace, first)
    second = following(first, 2)
    workspace = prepare(second, host)
    base = workspace.base_sha
    assert diffs.write_diffs(workspace, second, workspace.snapshot()) == diffs.Written(False, True)
    assert stored_diffs(second) == {"cumulative": stored_diffs(first)["cumulative"]}, "nothing was changed yet"
    write(workspace.checkout, {"second": "2\n", "text": "second\n"})
    tree = finish(workspace, second)
    result, cumulative = stored_diffs(second)["result"], stored_diffs(second)["cumulative"]
    assert b"b/first" not in result and b"b/first" in cumulative
    assert applied(origin, base, stored_diffs(first)["cumulative"], result) == tree == applied(origin, base, cumulative)
    third = following(second, 3)
    workspace = prepare(third, host)
    for name in ("first", "second"):
        (workspace.checkout / name).unlink()
    write(workspace.checkout, {"text": LINES})
    assert diffs.write_diffs(workspace, third, workspace.snapshot()) == diffs.Written(True, False), "all is undone"


def test_a_line_with_the_ids_of_trees_stays_in_its_diff(host: Host, origin: Path) -> None:
    """Git writes such a line between the two diffs, and here the agent knows it."""
    trial = make_job(origin, attempt=3)
    workspace = prepare(trial, host)
    write(workspace.checkout, {"second": "2\n"})
    final, base_tree = finish(workspace, trial), workspace.base_tree
    first = make_job(origin)
    workspace = prepare(first, host)
    write(workspace.checkout, {"first": f"{base_tree} {final}\n"})
    finish(workspace, first)
    second = following(first, 2)
    workspace = prepare(second, host)
    (workspace.checkout / "first").unlink()
    write(workspace.checkout, {"second": "2\n"})
    assert finish(workspace, second) == final
    result, cumulative = stored_diffs(second)["result"], stored_diffs(second)["cumulative"]
    assert f"\n-{base_tree} {final}\n".encode() in result and cumulative == stored_diffs(trial)["cumulative"]
    assert applied(origin, workspace.base_sha, stored_diffs(first)["cumulative"], result) == final


def test_no_change_and_a_question_write_nothing(host: Host, origin: Path) -> None:
    job, question = make_job(origin), make_job(origin, mode="ask")
    workspace = prepare(job, host)
    assert diffs.write_diffs(workspace, job, workspace.snapshot()) == diffs.Written(False, False)
    write(workspace.checkout, {"text": "changed\n"})
    assert diffs.write_diffs(workspace, question, workspace.snapshot()) == diffs.Written(False, False)
    assert stored_diffs(job) == stored_diffs(question) == {}


class WatchingSink(Sink):
    """Knows which commands of git ran on the directory of a workspace while it stored. Other tests may have left some of theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.directory: Path | None = None
        self.commands: list[bytes] = []

    def write(self, kinds: Sequence[DiffKind], chunks: Iterable[bytes], *, contains_secret: bool) -> None:
        # A process that has ended has no command line, even before its parent has waited for it.
        ours = b"--git-dir=%s" % os.fsencode(self.directory or "")
        self.commands += [command for _, command in each_process("cmdline") if ours in command.split(b"\0")]
        super().write(kinds, chunks, contains_secret=contains_secret)


class BrokenSink:
    def write(self, kinds: Sequence[DiffKind], chunks: Iterable[bytes], *, contains_secret: bool) -> None:
        next(iter(chunks))
        raise ConnectionError(kinds)


def test_git_has_ended_when_a_diff_is_stored_and_what_the_sink_raises_passes_through(host: Host, origin: Path) -> None:
    """The store may be waited for, and a stop meanwhile leaves no process behind."""
    sink = WatchingSink()
    job = make_job(origin, sink=sink)
    workspace = prepare(job, host)
    sink.directory = workspace.git.directory
    write(workspace.checkout, {"text": "changed\n"})
    tree = finish(workspace, job)
    assert sink.diffs.keys() == {"result", "cumulative"} and sink.commands == []
    with pytest.raises(ConnectionError):
        diffs.write_diffs(workspace, make_job(origin, sink=BrokenSink()), tree)


def test_a_diff_with_too_many_files_or_bytes_is_stored_in_no_part(host: Host, origin: Path) -> None:
    workspace = prepare(make_job(origin), host)
    job = make_job(origin, limits=Limits(max_diff_files=3))
    write(workspace.checkout, {"1": "", "2": "", "3": ""})
    assert diffs.write_diffs(workspace, job, workspace.snapshot()) == diffs.Written(True, True)
    write(workspace.checkout, {"4": ""})
    job = make_job(origin, limits=Limits(max_diff_files=3))
    assert refusal(workspace, job) == ("too_many_files", "diff")
    assert stored_diffs(job) == {}
    job = make_job(origin, limits=Limits(max_diff_bytes=10_000))
    (workspace.checkout / "bomb").write_bytes(random.Random(2).randbytes(300_000))
    assert refusal(workspace, job) == ("diff_too_large", "diff")
    assert stored_diffs(job) == {}


def refusal(workspace: Workspace, job: object) -> tuple[str, str]:
    with pytest.raises(EngineError) as caught:
        diffs.write_diffs(workspace, job, workspace.snapshot())  # type: ignore[arg-type]
    return caught.value.code, caught.value.stage


@pytest.mark.parametrize("seed", range(6 if FULL else 1))
def test_any_sequence_of_moves_survives(seed: int, host: Host, origin: Path) -> None:
    """Files, folders and links change places at random; renames make this the hardest case for a patch."""
    job = make_job(origin)
    workspace = prepare(job, host)
    _shuffle(workspace.checkout, random.Random(seed))
    tree = finish(workspace, job)
    assert applied(origin, workspace.base_sha, stored_diffs(job)["cumulative"]) == tree


def _shuffle(folder: Path, dice: random.Random) -> None:
    places = ["text", "folder", "folder/a", "folder/b", "link", "crlf.txt", "x", "x/y", "x/y/z", "folder/c/d", "text/t"]
    for _ in range(40):
        source, target = folder / dice.choice(places), folder / dice.choice(places)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            match dice.randrange(5):
                case 0:
                    source.rename(target)
                case 1:
                    target.unlink()
                    target.symlink_to(dice.choice(places))
                case 2:
                    target.write_text(LINES[: dice.randrange(len(LINES))])
                case 3:
                    shutil.copy(source, target, follow_symlinks=False)
                case 4:
                    target.chmod(dice.choice((0o644, 0o755)))
        except OSError:
            continue


@pytest.mark.parametrize("diff_limits", [None, Limits()], ids=["all", "what fits"])
def test_a_change_in_the_second_of_the_checkout_that_keeps_the_size_is_seen(
    host: Host, origin: Path, diff_limits: Limits | None
) -> None:
    """Most builds of git compare times in seconds. The base has a submodule, so the index is edited before staging."""
    for attempt in range(1, 20):
        workspace = prepare(make_job(origin, attempt=attempt), host)
        file = workspace.checkout / "folder" / "a"
        file.write_text("b\n")
        if int(file.stat().st_mtime) == int((workspace.git.directory / "index").stat().st_mtime):
            break
    time.sleep(1.1)
    tree = workspace.snapshot(diff_limits)
    assert git(workspace.git.directory, "cat-file", "blob", f"{tree}:folder/a") == "b"
    assert "folder/a" in git(workspace.checkout, "diff", "--name-only").split()


def test_a_branch_that_moved_on_does_not_matter(tmp_path: Path) -> None:
    moving = make_origin(tmp_path / "moving", {"a": "1\n"})
    host = make_host(tmp_path / "other")
    first = make_job(moving)
    workspace = prepare(first, host)
    write(workspace.checkout, {"b": "2\n"})
    tree = finish(workspace, first)
    write(moving, {"a": "changed\n"})
    commit_all(moving)
    second = following(first, 2, base_sha=workspace.base_sha)
    assert prepare(second, host).start_tree == tree
