"""A workspace: what the agent finds, what counts as its work, and how it all goes away."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.matrix import FULL
from tests.processes import do_in_child
from tests.workers.repositories import (
    ENVIRONMENT,
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
    stored_diffs,
    write,
)
from workers.errors import EngineError, Interrupted
from workers.job import Host, Limits
from workers.processes.lifeline import Lifeline
from workers.workspace.orphans import discard_workspaces, find_workspaces
from workers.workspace.trash import discard
from workers.workspace.workspace import Workspace

FILES: dict[str, str | bytes] = {
    "file": "one\n",
    "lock.json": "{}\n",
    "folder/inside": "x\n",
    ".gitignore": "ignored\n",
}
ORDINARY_USER = 12_345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root gives files to another user")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", FILES)


@pytest.fixture
def workspace(host: Host, origin: Path) -> Workspace:
    return prepare(make_job(origin), host)


def leftovers(host: Host) -> list[Path]:
    return list((host.work_dir / "workspaces").iterdir())


# What the agent finds


def test_the_checkout_holds_the_base(workspace: Workspace, origin: Path) -> None:
    assert workspace.base_sha == git(origin, "rev-parse", "HEAD")
    assert (workspace.checkout / "folder/inside").read_text() == "x\n"
    assert workspace.home.is_dir() and workspace.attachments.is_dir()
    assert workspace.root.name == "session-1"


def test_the_agents_repository_is_usable_and_refers_to_nothing_outside(host: Host, origin: Path) -> None:
    write(origin, {"file": "second\n"})
    commit_all(origin, "second")
    workspace = prepare(make_job(origin), host)
    moved = workspace.root.parent.parent / "elsewhere"
    shutil.move(workspace.checkout, moved)
    shutil.rmtree(host.work_dir / "mirrors")
    shutil.rmtree(origin)
    assert git(moved, "status", "--porcelain") == ""
    assert git(moved, "rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert git(moved, "log", "--format=%s") == "second"
    git(moved, "fsck", "--full")
    write(moved, {"file": "third\n"})
    assert git(moved, "diff", "--name-only") == "file"
    git(moved, "commit", "--quiet", "--all", "--message", "third")
    assert git(moved, "remote") == ""
    assert str(host.work_dir) not in "".join(
        path.read_text(errors="replace") for path in (moved / ".git").rglob("*") if path.is_file()
    )


def test_the_agents_repository_names_where_it_comes_from_without_a_credential(host: Host, origin: Path) -> None:
    base = prepare(make_job(origin), host).base_sha
    job = make_job("https://example.org/owner/name.git", base_sha=base, credential="s3cret", attempt=2)
    workspace = prepare(job, host)
    assert git(workspace.checkout, "remote", "get-url", "origin") == "https://example.org/owner/name.git"
    assert "s3cret" not in (workspace.checkout / ".git/config").read_text()


def test_a_follow_up_shows_earlier_work_as_uncommitted_changes(host: Host, origin: Path) -> None:
    job = make_job(origin)
    first = prepare(job, host)
    write(first.checkout, {"file": "changed\n", "new": "file\n"})
    finish(first, job)
    second = prepare(following(job, 2), host)
    assert git(second.checkout, "status", "--porcelain") == "M file\n?? new"
    assert second.base_tree != second.start_tree


def test_a_follow_up_costs_no_network(host: Host, origin: Path) -> None:
    job = make_job(origin)
    first = prepare(job, host)
    write(first.checkout, {"new": "file\n"})
    tree = finish(first, job)
    shutil.rmtree(origin)
    assert prepare(following(job, 2, base_sha=first.base_sha), host).start_tree == tree


def test_a_diff_that_does_not_apply_says_so_and_leaves_nothing(host: Host, origin: Path) -> None:
    patch = b"diff --git a/file b/file\n--- a/file\n+++ b/file\n@@ -1 +1 @@\n-not there\n+x\n"
    for bad in (
        patch,
        b"no diff at all",
        b"diff --git a/../x b/../x\nnew file mode 100644\n--- /dev/null\n+++ b/../x\n",
    ):
        job = make_job(origin, start_diff=lambda bad=bad: iter([bad]))
        with pytest.raises(EngineError) as caught:
            prepare(job, host)
        assert (caught.value.code, caught.value.stage) == ("diff_does_not_apply", "checkout")
        assert leftovers(host) == []


def test_an_empty_start_diff_is_the_base(host: Host, origin: Path) -> None:
    workspace = prepare(make_job(origin, start_diff=lambda: iter([])), host)
    assert workspace.start_tree == workspace.base_tree


@as_root
def test_the_files_belong_to_the_user_of_the_sandbox(host: Host, origin: Path) -> None:
    owned = make_host(host.work_dir, sandbox="bubblewrap", sandbox_uid=61_234)
    write(origin, {"link-to-nowhere": "x"})
    (origin / "link").symlink_to("/etc/passwd")
    commit_all(origin)
    job = make_job(origin)
    workspace = prepare(job, owned)
    for path in (workspace.checkout, *workspace.checkout.rglob("*"), workspace.home):
        assert path.lstat().st_uid == 61_234, path
    assert os.stat("/etc/passwd").st_uid == 0
    assert workspace.snapshot() == workspace.start_tree
    clean = subprocess.run(
        ["git", "status", "--porcelain"],
        cwd=workspace.checkout,
        env=ENVIRONMENT,
        user=61_234,
        group=61_234,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    if b"ermission denied" not in clean.stderr:  # Folders above the test's may be closed to other users.
        assert (clean.returncode, clean.stdout) == (0, b""), clean.stderr


# What counts as the agent's work


def test_what_is_ignored_is_no_part_of_the_tree(workspace: Workspace) -> None:
    write(workspace.checkout, {"ignored": "x", "seen": "x", "sub/.gitignore": "*.log\n", "sub/a.log": "x"})
    assert names(workspace, workspace.snapshot()) == {*FILES, "seen", "sub/.gitignore"}


def test_the_agents_commits_and_index_do_not_matter(workspace: Workspace) -> None:
    write(workspace.checkout, {"file": "two\n", "new": "x\n"})
    tree = workspace.snapshot()
    git(workspace.checkout, "checkout", "--quiet", "-b", "other")
    git(workspace.checkout, "add", "new")
    git(workspace.checkout, "commit", "--quiet", "--all", "--message", "mine")
    assert workspace.snapshot() == tree


def test_a_change_of_the_same_size_and_time_is_seen(workspace: Workspace) -> None:
    file = workspace.checkout / "file"
    before = file.stat()
    file.write_text("two\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert workspace.snapshot() != workspace.start_tree


def test_what_setup_leaves_untouched_is_no_part_of_the_diff(host: Host, origin: Path) -> None:
    job = make_job(origin)
    workspace = prepare(job, host)
    write(workspace.checkout, {"modules/a": "a\n", "modules/b": "b\n", "lock.json": "{1}\n", "built": "x\n"})
    shutil.rmtree(workspace.checkout / "folder")
    workspace.after_setup()
    assert workspace.snapshot() == workspace.start_tree
    write(workspace.checkout, {"modules/b": "edited\n", "file": "two\n"})
    (workspace.checkout / "built").unlink()
    tree = finish(workspace, job)
    assert names(workspace, tree) == {*FILES, "modules/b"}
    assert b"lock.json" not in stored_diffs(job)["result"]
    assert applied(origin, workspace.base_sha, stored_diffs(job)["result"]) == tree


def test_a_tracked_file_that_setup_and_the_agent_changed_counts_in_full(host: Host, origin: Path) -> None:
    job = make_job(origin)
    workspace = prepare(job, host)
    write(workspace.checkout, {"lock.json": "{1}\n"})
    workspace.after_setup()
    write(workspace.checkout, {"lock.json": "{1, 2}\n"})
    finish(workspace, job)
    assert b"-{}\n+{1, 2}\n" in stored_diffs(job)["result"]


def test_a_file_that_setup_made_a_folder_gives_way_to_what_the_agent_put_there(workspace: Workspace) -> None:
    (workspace.checkout / "file").unlink()
    write(workspace.checkout, {"file/of setup": "x\n"})
    shutil.rmtree(workspace.checkout / "folder")
    (workspace.checkout / "folder").write_text("a file now\n")
    workspace.after_setup()
    assert workspace.snapshot() == workspace.start_tree
    write(workspace.checkout, {"file/of the agent": "y\n"})
    assert names(workspace, workspace.snapshot()) == {*FILES, "file/of the agent"} - {"file"}


def test_a_folder_that_setup_made_a_file_gives_way_to_the_agents_file(workspace: Workspace) -> None:
    shutil.rmtree(workspace.checkout / "folder")
    (workspace.checkout / "folder").write_text("setup\n")
    workspace.after_setup()
    (workspace.checkout / "folder").write_text("agent\n")
    assert names(workspace, workspace.snapshot()) == {*FILES, "folder"} - {"folder/inside"}


def test_nested_repositories_are_plain_files_and_stay_repositories(workspace: Workspace) -> None:
    for place in ("vendor/lib", "vendor/lib/deeper", "empty"):
        git(workspace.checkout, "init", "--quiet", place)
    write(workspace.checkout, {"vendor/lib/code": "x\n", "vendor/lib/deeper/code": "y\n", "empty/file": "z\n"})
    commit_all(workspace.checkout / "vendor/lib/deeper")
    commit_all(workspace.checkout / "vendor/lib")
    write(workspace.checkout, {"pointed/.git": "gitdir: ../vendor/lib/.git\n", "pointed/file": "x\n"})
    workspace.after_setup()
    assert (workspace.checkout / "vendor/lib/.git/HEAD").exists()
    write(workspace.checkout, {"vendor/lib/deeper/code": "changed\n"})
    assert names(workspace, workspace.snapshot()) == {*FILES, "vendor/lib/deeper/code"}
    workspace._setup_tree = None
    expected = {"vendor/lib/code", "vendor/lib/deeper/code", "empty/file", "pointed/file"}
    assert names(workspace, workspace.snapshot()) == {*FILES, *expected}


def test_a_submodule_that_is_not_checked_out_keeps_its_pointer(host: Host, origin: Path) -> None:
    git(origin, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},module")
    git(origin, "commit", "--quiet", "--message", "a submodule")
    workspace = prepare(make_job(origin), host)
    assert workspace.snapshot() == workspace.start_tree


# What could go wrong with files


def test_links_are_stored_and_never_followed(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "outside", {"secret": "canary\n", "inside": "canary\n"})
    (workspace.checkout / "to-file").symlink_to(tmp_path / "outside/secret")
    (workspace.checkout / "to-folder").symlink_to(tmp_path / "outside")
    shutil.rmtree(workspace.checkout / "folder")
    (workspace.checkout / "folder").symlink_to(tmp_path / "outside")
    tree = workspace.snapshot()
    listed = git(workspace.git.directory, "ls-tree", "-r", tree)
    assert [line.split("\t")[1] for line in listed.splitlines() if line.startswith("120000")] == [
        "folder",
        "to-file",
        "to-folder",
    ]
    assert git(workspace.git.directory, "cat-file", "blob", f"{tree}:to-file") == str(tmp_path / "outside/secret")


READ_BY_GIT = (".gitignore", ".gitattributes", "sub/.gitignore", "sub/.gitattributes", ".gitmodules")


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "socket"])
@pytest.mark.parametrize("paths", [[path] for path in READ_BY_GIT] if FULL else [READ_BY_GIT])
def test_files_that_git_reads_by_itself_may_be_of_any_kind(
    workspace: Workspace, tmp_path: Path, paths: Sequence[str], kind: str
) -> None:
    write(workspace.checkout, {"sub/file": "x\n", "new": "y\n"})
    write(tmp_path, {"outside": "new\nsub\n"})
    for path in (workspace.checkout / each for each in paths):
        path.unlink(missing_ok=True)
        match kind:
            case "fifo":
                os.mkfifo(path)
            case "link":
                path.symlink_to(tmp_path / "outside")
            case "folder":
                write(path, {"inside": "x\n"})
            case "socket":
                _make_socket(path)
    found = names(workspace, workspace.snapshot())
    assert {"file", "sub/file", "new"} <= found


def test_an_ignore_file_that_grew_too_large_stays_as_it_was(workspace: Workspace) -> None:
    workspace.after_setup()
    (workspace.checkout / ".gitignore").write_text("ignored\n" * 200_000)
    write(workspace.checkout, {"new": "y\n"})
    tree = workspace.snapshot()
    assert names(workspace, tree) == {*FILES, "new"} and workspace.left_out == [".gitignore"]
    assert git(workspace.git.directory, "cat-file", "blob", f"{tree}:.gitignore") == "ignored"
    (workspace.checkout / ".gitignore").unlink()
    assert names(workspace, workspace.snapshot()) == {*FILES, "new"} - {".gitignore"}


def test_ignore_files_that_are_too_large_together_are_left_out(workspace: Workspace) -> None:
    for number in range(20):
        write(workspace.checkout, {f"{number}/.gitignore": b"#" * 1024**2, f"{number}/file": "x\n"})
    found = names(workspace, workspace.snapshot())
    assert {f"{number}/file" for number in range(20)} <= found
    left_out = {f"{number}/.gitignore" for number in range(20)} - found
    assert 4 <= len(left_out) <= 5 and left_out == set(workspace.left_out)


def test_more_new_files_than_a_diff_may_have_are_not_even_stored(host: Host, origin: Path) -> None:
    workspace = prepare(make_job(origin, limits=Limits(max_diff_files=10)), host)
    write(workspace.checkout, {f"setup/{number}": "x\n" for number in range(20)})
    workspace.after_setup()
    write(workspace.checkout, {f"new/{number}": "x\n" for number in range(10)})
    assert len(names(workspace, workspace.snapshot())) == len(FILES) + 10
    write(workspace.checkout, {f"newer/{number}": str(number) for number in range(11)})
    before = git(workspace.git.directory, "count-objects", "-v")
    with pytest.raises(EngineError, match="more than 10 files") as raised:
        workspace.snapshot()
    assert (raised.value.code, raised.value.stage) == ("too_many_files", "diff")
    assert git(workspace.git.directory, "count-objects", "-v") == before


def test_a_question_may_leave_as_many_files_as_it_likes(host: Host, origin: Path) -> None:
    workspace = prepare(make_job(origin, mode="ask", limits=Limits(max_diff_files=1)), host)
    workspace.after_setup()
    write(workspace.checkout, {"one": "x\n", "two": "x\n"})
    assert names(workspace, workspace.snapshot()) == {*FILES, "one", "two"}


def _make_socket(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def test_pipes_sockets_and_devices_are_passed_over(workspace: Workspace) -> None:
    os.mkfifo(workspace.checkout / "pipe")
    _make_socket(workspace.checkout / "socket")
    (workspace.checkout / "file").unlink()
    os.mkfifo(workspace.checkout / "file")
    if os.geteuid() == 0:
        try:
            os.mknod(workspace.checkout / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        except PermissionError:
            assert not (workspace.checkout / "zero").exists()
    assert names(workspace, workspace.snapshot()) == set(FILES) - {"file"}


def test_files_and_folders_without_permissions_are_read_all_the_same(workspace: Workspace) -> None:
    write(workspace.checkout, {"closed": "x\n", "shut/inside": "y\n", "shut/.git/HEAD": "ref: refs/heads/x\n"})
    (workspace.checkout / "closed").chmod(0)
    (workspace.checkout / "file").chmod(0)
    (workspace.checkout / "shut" / ".git").chmod(0)
    (workspace.checkout / "shut").chmod(0)
    assert names(workspace, workspace.snapshot()) == {*FILES, "closed", "shut/inside"}


def test_names_that_git_refuses_do_not_stop_the_rest(workspace: Workspace) -> None:
    refused = (".GIT", ".Git", "git~1", ".git ", ".git.", ".git::$INDEX_ALLOCATION", "sub/.gIt")
    write(workspace.checkout, {"file": "two\n", "new": "x\n"})
    write(workspace.checkout, {f"{name}/config": "[core]\n" for name in refused})
    assert names(workspace, workspace.snapshot()) == {*FILES, "new"}
    assert all((workspace.checkout / name / "config").exists() for name in refused)


def test_a_deleted_checkout_is_an_empty_one(workspace: Workspace) -> None:
    shutil.rmtree(workspace.checkout)
    assert names(workspace, workspace.snapshot()) == set()


def test_a_checkout_that_became_a_link_or_a_file_is_an_empty_one(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "outside", {"secret": "canary\n"})
    shutil.rmtree(workspace.checkout)
    workspace.checkout.symlink_to(tmp_path / "outside")
    assert names(workspace, workspace.snapshot()) == set()
    assert (tmp_path / "outside/secret").exists()
    workspace.checkout.rmdir()
    workspace.checkout.write_text("a file\n")
    assert names(workspace, workspace.snapshot()) == set()


def test_very_deep_folders_do_no_harm(workspace: Workspace, host: Host) -> None:
    descriptor = os.open(workspace.checkout, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=descriptor)
        below = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    write(workspace.checkout, {"file": "two\n"})
    assert names(workspace, workspace.snapshot()) == set(FILES)
    workspace.dispose()
    wait_until_gone(host)


# How it goes away


def wait_until_gone(host: Host) -> None:
    deadline = time.monotonic() + 300
    while (host.work_dir / "trash.deleting").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_disposing_removes_everything_and_follows_no_link(workspace: Workspace, host: Host, tmp_path: Path) -> None:
    write(tmp_path / "outside", {"kept": "x\n"})
    (workspace.checkout / "link").symlink_to(tmp_path / "outside")
    write(workspace.checkout, {"shut/inside": "x\n"})
    (workspace.checkout / "shut").chmod(0)
    (tmp_path / "outside").chmod(0o711)
    workspace.dispose()
    assert not workspace.root.exists()
    workspace.dispose()
    wait_until_gone(host)
    assert (tmp_path / "outside/kept").read_text() == "x\n"
    assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o711
    assert sorted(path.name for path in host.work_dir.iterdir()) == ["bases", "mirrors", "trash.lock", "workspaces"]


@as_root
def test_a_user_who_is_not_root_removes_folders_that_are_shut() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        host = make_host(Path(place) / "work")
        folder = host.work_dir / "folder"
        write(folder, {"shut/inside": "x\n"})
        for path in (Path(place), *Path(place).rglob("*")):
            os.chown(path, ORDINARY_USER, ORDINARY_USER)
        (folder / "shut").chmod(0)

        def discard_as_ordinary_user() -> None:
            os.setgroups([])
            os.setgid(ORDINARY_USER)
            os.setuid(ORDINARY_USER)
            discard(host, folder)

        do_in_child(discard_as_ordinary_user)
        wait_until_gone(host)
        assert [path.name for path in host.work_dir.iterdir()] == ["trash.lock"]


def test_what_stands_in_the_way_of_an_attempt_is_cleared(workspace: Workspace, host: Host, origin: Path) -> None:
    write(workspace.checkout, {"old": "x\n"})
    again = prepare(make_job(origin), host)
    assert again.root == workspace.root
    assert not (again.checkout / "old").exists()


def test_the_workspaces_of_a_host_are_found_by_their_attempts_and_discarded(host: Host, origin: Path) -> None:
    assert find_workspaces(host) == {}
    discard_workspaces(host, [])
    session_id = str(uuid.uuid4())
    for attempt in (1, 2, 3):
        prepare(make_job(origin, session_id=session_id, attempt=attempt), host)
    found = find_workspaces(host)
    assert set(found) == {(session_id, attempt) for attempt in (1, 2, 3)}
    write(host.work_dir / "trash", {"left/behind": "x\n"})
    discard_workspaces(host, [found[session_id, 1], found[session_id, 3]])
    assert [path.name for path in leftovers(host)] == [f"{session_id}-2"]
    # The next sweep takes what came while a deletion was running, once that has let go of its lock.
    deadline = time.monotonic() + 300
    while (host.work_dir / "trash").exists():
        assert time.monotonic() < deadline
        discard_workspaces(host, [])
        time.sleep(0.02)
    wait_until_gone(host)


def test_a_lifeline_that_ran_out_stops_the_preparation_but_not_the_saving(host: Host, origin: Path) -> None:
    job = make_job(origin, lifeline=Lifeline(600))
    workspace = prepare(job, host)
    write(workspace.checkout, {"file": "two\n"})
    job.lifeline.cut()
    finish(workspace, job)
    assert set(stored_diffs(job)) == {"result", "cumulative"}
    with pytest.raises(Interrupted):
        prepare(make_job(origin, attempt=2, lifeline=job.lifeline), host)
    assert [path.name for path in leftovers(host)] == ["session-1"]
