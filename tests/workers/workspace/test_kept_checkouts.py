"""A whole checkout is used again by the next attempt of its site. Nothing that happened in it may show there."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.matrix import FULL, usual
from tests.workers.engine import IS_ROOT
from tests.workers.repositories import (
    commit_all,
    finish,
    following,
    git,
    make_host,
    make_job,
    make_origin,
    prepare,
    write,
)
from workers.job import Host, Job
from workers.workspace.orphans import discard_workspaces
from workers.workspace.workspace import Workspace

FILES: dict[str, str | bytes] = {
    "file": "one\n",
    "program": "#!/bin/sh\n",
    "folder/inner/deep": "deep\n",
    "folder/other": "other\n",
    "lonely/file": "lonely\n",
    ".gitignore": "ignored/\n*.log\n",
    "AGENTS.md": "Be kind.\n",
    "na\u00efve \n name": "odd\n",
}
LONG_AGO = time.time() - 30 * 86_400


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", FILES, then=add_program_and_link)


def add_program_and_link(made: Path) -> None:
    (made / "program").chmod(0o755)
    (made / "link").symlink_to("folder/inner")
    commit_all(made)


OWNED = pytest.param("bubblewrap", marks=pytest.mark.skipif(not IS_ROOT, reason="NOT TESTED: run it as root"))
# What does not depend on whose the files are.
for_one_owner = pytest.mark.parametrize("host", usual(["none", OWNED]), indirect=True)
# What is the same but for that they are given to the agent's user.
for_the_agent = pytest.mark.parametrize("host", usual([OWNED, "none"] if IS_ROOT else ["none", OWNED]), indirect=True)


@pytest.fixture(params=["none", OWNED])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """With a sandbox the files belong to the agent's user."""
    return make_host(tmp_path / "work", sandbox=request.param, overlay=False)


def listing(checkout: Path) -> dict[str, object]:
    """All that can be seen of every file, except times and inodes; the agent's repository by what git says of it."""
    found: dict[str, object] = {
        "status": git(checkout, "status", "--porcelain", "--ignored"),
        "log": git(checkout, "log"),
    }
    for folder, folders, files in os.walk(checkout):
        if Path(folder) == checkout:
            folders.remove(".git")
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            is_folder = stat.S_ISDIR(status.st_mode)
            links = None if is_folder else status.st_nlink
            attributes = os.listxattr(path, follow_symlinks=False)
            found[str(path)[len(str(checkout)) :]] = (status.st_mode, status.st_uid, links, content, attributes)
    return found


def fresh(host: Host, job: Job, tmp_path: Path) -> dict[str, object]:
    """The listing of the same job's checkout on a host that has none to use again."""
    other = make_host(tmp_path / f"other-{random.random()}", sandbox=host.sandbox, overlay=False)
    workspace = prepare(job, other)
    found = listing(workspace.checkout)
    workspace.dispose()
    return found


def kept(host: Host) -> list[Path]:
    return list(host.work_dir.glob("checkouts/*/*"))


def inodes(checkout: Path) -> dict[str, int]:
    """By name, which is unique among the files and links."""
    found = [Path(folder, name) for folder, folders, files in os.walk(checkout) for name in (*files, *folders)]
    return {path.name: path.lstat().st_ino for path in found if path.is_symlink() or path.is_file()}


def rewrite_with_same_size_and_time(checkout: Path) -> None:
    file = checkout / "file"
    before = file.stat()
    file.write_text("two\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def make_links_of_files(checkout: Path) -> None:
    os.link(checkout / "file", checkout / "folder" / "second-name")
    os.link(checkout / "program", checkout.parent / "outside")


def change_modes(checkout: Path) -> None:
    (checkout / "file").chmod(0o600)
    (checkout / "program").chmod(0o4755)
    (checkout / "folder" / "inner").chmod(0o700)
    (checkout / "lonely").chmod(0o1777)


def lock_out(checkout: Path) -> None:
    write(checkout, {"closed/inner/file": "x", "folder/inner/more": "x"})
    for name in ("closed/inner", "closed", "folder/inner"):
        (checkout / name).chmod(0)
    checkout.chmod(0o500)


def swap_kinds(checkout: Path) -> None:
    subprocess.run(["rm", "-r", checkout / "folder", checkout / "file"], check=True)
    (checkout / "folder").symlink_to("/etc")
    write(checkout, {"file/was/one": "now a folder\n"})
    (checkout / "link").unlink()
    (checkout / "link").mkdir()
    (checkout / "program").unlink()
    os.mkfifo(checkout / "program")
    os.mknod(checkout / "socket", stat.S_IFSOCK | 0o644)


def leave_more(checkout: Path) -> None:
    write(checkout, {"new/file": "x", "ignored/big": "x", "folder/debug.log": "x", "folder/.gitignore": "*\n"})
    write(checkout, {"folder/.git": "gitdir: /nowhere\n", ".git/hooks/post-checkout": "#!/bin/sh\ntouch hooked\n"})
    (checkout / ".git" / "hooks" / "post-checkout").chmod(0o755)
    write(checkout, {".git/info/exclude": "*\n", ".git/info/attributes": "* text eol=crlf\n"})
    git(checkout / "new", "init", "--quiet")
    (checkout / "empty").mkdir()
    (checkout / "dangling").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(checkout) + b"/\xff\xfe")).write_text("x")


def bury(checkout: Path) -> None:
    """Make folders deeper than any path may be."""
    script = 'cd "$1"; for i in $(seq 60); do mkdir $(printf %0100d $i) && cd $(printf %0100d $i); done; echo x > deep'
    subprocess.run(["bash", "-c", script, "bash", checkout / "folder"], check=True)


def remove_all(checkout: Path) -> None:
    subprocess.run(["rm", "-r", checkout], check=True)


def replace_by_link(checkout: Path) -> None:
    checkout.rename(checkout.with_name("moved"))
    checkout.symlink_to("moved")


def give_attributes(checkout: Path) -> None:
    os.setxattr(checkout / "file", "user.note", b"x")
    os.setxattr(checkout / "folder", "user.note", b"x")


def give_access_list(checkout: Path) -> None:
    # Version 2; the owner, the group and the others may do everything with what is made in the folder.
    entries = b"".join(tag.to_bytes(2, "little") + b"\x07\x00" + b"\xff" * 4 for tag in (0x01, 0x04, 0x20))
    os.setxattr(checkout / "folder", "system.posix_acl_default", b"\x02\x00\x00\x00" + entries)


MISCHIEF = [
    rewrite_with_same_size_and_time,
    make_links_of_files,
    change_modes,
    lock_out,
    swap_kinds,
    leave_more,
    bury,
    remove_all,
    replace_by_link,
    give_attributes,
    give_access_list,
]


@pytest.mark.parametrize(
    "mischiefs",
    [[each] for each in MISCHIEF] if FULL else [MISCHIEF],
    ids=lambda each: each[0].__name__ if FULL else "all",
)
@for_the_agent
def test_nothing_that_was_done_in_it_shows_in_the_next(
    host: Host, origin: Path, tmp_path: Path, mischiefs: list[Callable[[Path], None]]
) -> None:
    base = git(origin, "rev-parse", "HEAD")
    expected = fresh(host, make_job(origin), tmp_path)
    workspace = prepare(make_job(origin, base_sha=base), host)
    for attempt, mischief in enumerate(mischiefs, 2):
        mischief(workspace.checkout)
        workspace.dispose(reusable=True)
        workspace = prepare(make_job(origin, attempt=attempt, base_sha=base), host)
        assert listing(workspace.checkout) == expected, mischief.__name__
        assert workspace.snapshot() == workspace.start_tree, mischief.__name__


def test_files_that_did_not_change_are_not_written_again(host: Host, origin: Path) -> None:
    workspace = prepare(make_job(origin), host)
    before = inodes(workspace.checkout)
    write(workspace.checkout, {"file": "changed\n", "new": "x"})
    (workspace.checkout / "lonely" / "file").unlink()
    workspace.dispose(reusable=True)
    after = inodes(prepare(make_job(origin, attempt=2), host).checkout)
    assert {name for name in FILES if name in before and before[name] != after.get(name)} <= {"file"}
    assert after["deep"] == before["deep"] and after["link"] == before["link"] and "new" not in after


@for_the_agent
def test_the_next_has_the_work_of_earlier_sessions_of_its_own_runner_only(
    host: Host, origin: Path, tmp_path: Path
) -> None:
    job = make_job(origin)
    workspace = prepare(job, host)
    write(workspace.checkout, {"file": "mine\n", "folder/mine": "mine\n"})
    (workspace.checkout / "folder" / "other").unlink()
    workspace.after_setup(has_run=False)
    finish(workspace, job)
    workspace.dispose(reusable=True)
    other, follow_up = make_job(origin, attempt=2), following(job, 3)
    expected = [fresh(host, each, tmp_path) for each in (other, follow_up)]
    for each, shown in zip((other, follow_up), expected, strict=True):
        workspace = prepare(each, host)
        assert listing(workspace.checkout) == shown
        workspace.dispose(reusable=True)


@for_the_agent
def test_the_next_may_start_from_another_commit(host: Host, origin: Path, tmp_path: Path) -> None:
    prepare(make_job(origin), host).dispose(reusable=True)
    git(origin, "rm", "-r", "--quiet", "folder/inner")
    write(origin, {"folder/inner": "a file now\n", "file": "two\n", "lonely/second": "new\n"})
    commit_all(origin)
    expected = fresh(host, make_job(origin), tmp_path)
    workspace = prepare(make_job(origin, attempt=2), host)
    assert listing(workspace.checkout) == expected and expected["/file"] != listing(origin).get("/nothing")
    assert workspace.snapshot() == workspace.start_tree


@for_one_owner
def test_only_attempts_of_the_same_site_use_it(host: Host, origin: Path) -> None:
    workspace = prepare(make_job(origin), host)
    before = inodes(workspace.checkout)
    workspace.dispose(reusable=True)
    other = prepare(make_job(origin, site_id="other"), host)
    assert len(kept(host)) == 1 and not set(before.values()) & set(inodes(other.checkout).values())


@for_one_owner
def test_one_that_a_process_may_still_write_to_is_not_kept(host: Host, origin: Path) -> None:
    prepare(make_job(origin), host).dispose()
    assert kept(host) == []


@for_one_owner
def test_a_worker_that_is_lost_while_it_keeps_one_leaves_no_work_to_save(host: Host, origin: Path) -> None:
    """Else the checkout, which is no longer there, would be saved as one in which everything was deleted."""
    # Nothing can be moved to it, as if the worker ended before.
    (host.work_dir / "trash").write_text("")
    job = make_job(origin)
    workspace = prepare(job, host)
    workspace.after_setup(has_run=False)
    workspace.dispose(reusable=True)
    assert len(kept(host)) == 1 and workspace.root.is_dir()
    assert Workspace.reopen(job, host) is None


@for_one_owner
def test_a_damaged_one_is_not_used(host: Host, origin: Path, tmp_path: Path) -> None:
    expected = fresh(host, make_job(origin), tmp_path)
    for attempt, content in enumerate((b"", b"DIRC" + b"\xff" * 40), 1):
        prepare(make_job(origin, attempt=attempt), host).dispose(reusable=True)
        [folder] = kept(host)
        (folder / "index").write_bytes(content)
        workspace = prepare(make_job(origin, attempt=attempt + 10), host)
        assert listing(workspace.checkout) == expected and kept(host) == []


@for_one_owner
def test_only_so_many_of_a_site_are_kept(host: Host, origin: Path) -> None:
    for workspace in [prepare(make_job(origin, attempt=attempt), host) for attempt in range(1, 11)]:
        workspace.dispose(reusable=True)
    assert len(kept(host)) == 8


@for_one_owner
def test_one_that_nobody_used_for_a_day_is_removed(host: Host, origin: Path) -> None:
    for workspace in [prepare(make_job(origin, attempt=attempt), host) for attempt in (1, 2)]:
        workspace.dispose(reusable=True)
    old, new = kept(host)
    discard_workspaces(host, [])
    assert len(kept(host)) == 2, "they were used just now"
    os.utime(old, (LONG_AGO, LONG_AGO))
    discard_workspaces(host, [])
    assert kept(host) == [new]
