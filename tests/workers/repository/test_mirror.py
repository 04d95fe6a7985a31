"""Fetching into the mirror: when the network is used, which commit is chosen, and how it fails."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.program import fresh_processes
from tests.workers.fetching import fetch_for_ever, fetch_into
from tests.workers.repositories import commit_all, fetch_base, git, make_job, make_origin, write
from workers.errors import EngineError
from workers.job import Host, Job
from workers.processes.lifeline import Lifeline
from workers.repository.mirror import Mirror


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"file": "one\n"})


def failure(host: Host, job: Job) -> EngineError:
    with pytest.raises(EngineError) as caught:
        fetch_base(host, job)
    assert caught.value.stage == "checkout"
    return caught.value


def test_a_branch_is_resolved_to_its_newest_commit_each_time(host: Host, origin: Path) -> None:
    assert fetch_base(host, make_job(origin)) == git(origin, "rev-parse", "HEAD")
    write(origin, {"file": "two\n"})
    newest = commit_all(origin)
    assert fetch_base(host, make_job(origin)) == newest


def test_a_branch_that_was_rewritten_is_followed_and_the_old_base_is_kept(host: Host, origin: Path) -> None:
    old = fetch_base(host, make_job(origin))
    git(origin, "commit", "--quiet", "--amend", "--message", "rewritten")
    new = fetch_base(host, make_job(origin))
    git(origin, "gc", "--quiet", "--prune=now")
    assert new != old
    assert fetch_base(host, make_job(origin, base_sha=old)) == old


def test_a_known_base_needs_no_network(host: Host, origin: Path) -> None:
    base = fetch_base(host, make_job(origin))
    shutil.rmtree(origin)
    assert fetch_base(host, make_job(origin, base_sha=base)) == base
    assert fetch_base(host, make_job(origin, sha=base)) == base
    assert fetch_base(host, make_job(origin, sha=base[:10].upper())) == base


def test_an_unknown_commit_is_fetched_by_its_id(host: Host, origin: Path) -> None:
    first = git(origin, "rev-parse", "HEAD")
    write(origin, {"file": "two\n"})
    commit_all(origin)
    assert fetch_base(host, make_job(origin, sha=first)) == first
    assert git(host.work_dir / "mirrors" / "site", "for-each-ref", "--format=%(refname)", "refs/base") == (
        f"refs/base/{first}"
    )


def test_a_commit_of_another_branch_and_a_short_id_of_this_one_are_found(host: Host, origin: Path) -> None:
    main = git(origin, "rev-parse", "HEAD")
    git(origin, "checkout", "--quiet", "-b", "other")
    other = commit_all(origin)
    assert fetch_base(host, make_job(origin, sha=other)) == other
    assert fetch_base(host, make_job(origin, site_id="second", sha=main[:8])) == main


@pytest.mark.parametrize("sha", ["0" * 39 + "1", "abcdef1", "f" * 64, "main", "--all", "HEAD~1"])
def test_an_unknown_commit_is_an_error(host: Host, origin: Path, sha: str) -> None:
    assert failure(host, make_job(origin, sha=sha)).code == "base_gone"
    assert failure(host, make_job(origin, base_sha=sha)).code == "base_gone"


def test_a_tree_is_not_accepted_as_a_commit(host: Host, origin: Path) -> None:
    tree = git(origin, "rev-parse", "HEAD^{tree}")
    assert failure(host, make_job(origin, sha=tree)).code == "base_gone"


def test_a_branch_that_does_not_exist_is_named(host: Host, origin: Path) -> None:
    error = failure(host, make_job(origin, branch="no/such"))
    assert (error.code, error.retryable) == ("branch_not_found", False)
    assert "no/such" in error.message


def test_a_missing_branch_error_names_the_default_branch_and_similar_ones(host: Host, origin: Path) -> None:
    git(origin, "branch", "--move", "main", "trunk")
    for name in ("feature/login", "feature/logout", "other"):
        git(origin, "branch", name)
    message = failure(host, make_job(origin, branch="feature/logins")).message
    assert "no branch named feature/logins" in message and "default branch is trunk" in message
    assert "Similar branches: feature/login, feature/logout." in message and "other" not in message


def test_without_a_branch_the_default_branch_of_the_remote_is_used(host: Host, origin: Path) -> None:
    git(origin, "branch", "--move", "main", "trunk/one")
    newest = git(origin, "rev-parse", "HEAD")
    assert Mirror(host, "site", Lifeline(600)).obtain_base(make_job(origin, branch=None)) == (newest, "trunk/one")
    assert Mirror(host, "site", Lifeline(600)).obtain_base(make_job(origin, branch=None, sha=newest)) == (
        newest,
        "trunk/one",
    )


def test_a_remote_without_a_default_branch_says_what_to_set(host: Host, origin: Path) -> None:
    git(origin, "symbolic-ref", "HEAD", "refs/heads/gone")
    error = failure(host, make_job(origin, branch=None))
    assert error.code == "branch_not_found" and "default_branch" in error.message


def test_an_empty_repository_says_so(host: Host, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "empty")
    for branch in ("main", None):
        error = failure(host, make_job(tmp_path / "empty", branch=branch))
        assert error.code == "branch_not_found"
        assert "empty" in error.message


def test_a_missing_repository_is_unreachable(host: Host, tmp_path: Path) -> None:
    assert failure(host, make_job(tmp_path / "nowhere")).code == "repository_unreachable"


def test_a_server_that_does_not_listen_is_retryable(host: Host) -> None:
    open_host = dataclasses.replace(host, allowed_protocols=("http",), allow_private_addresses=True)
    error = failure(open_host, make_job("http://127.0.0.1:9/repository.git"))
    assert (error.code, error.retryable) == ("repository_unreachable", True)


@pytest.mark.parametrize(
    "branch",
    [
        "",
        "-x",
        "--upload-pack=touch canary",
        "a..b",
        "a b",
        "a~1",
        "a:b",
        "a.lock",
        "/a",
        "a//b",
        "a\nb",
        "a\0b",
        "@{1}",
    ],
)
def test_a_hostile_branch_is_refused_before_anything_is_fetched(host: Host, origin: Path, branch: str) -> None:
    assert failure(host, make_job(origin, branch=branch)).code == "repository_refused"
    assert not (host.work_dir / "mirrors" / "site").exists()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "-u./x",
        "--upload-pack=touch canary",
        "ext::sh -c 'touch canary'",
        "ext::touch%20canary",
        "fd::17",
        "git://example.org/x",
        "http://example.org/x",
        "ssh://example.org/x",
        "git@example.org:x",
        "FILE:///etc",
        "file://example.org/etc",
        "/etc",
        "file:///etc",
        "relative/path",
        "../origin",
        "https://user:secret@example.org/x",
        "https:///x",
        "https://example.org/a\nb",
    ],
)
def test_an_address_that_is_not_allowed_is_refused(host: Host, url: str) -> None:
    error = failure(host, make_job(url))
    assert error.code == "repository_refused"
    assert "secret" not in error.message


def test_a_link_out_of_the_folder_of_local_repositories_is_refused(host: Host, tmp_path: Path) -> None:
    make_origin(tmp_path / "outside" / "origin", {"file": "secret\n"})
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(tmp_path / "outside" / "origin")
    narrow = dataclasses.replace(host, local_repositories=allowed)
    for url in (allowed / "link", f"file://{allowed}/link", f"{allowed}/../outside/origin"):
        assert failure(narrow, make_job(url)).code == "repository_refused"
    unset = dataclasses.replace(host, local_repositories=None)
    assert failure(unset, make_job(tmp_path / "outside" / "origin")).code == "repository_refused"


def test_a_local_repository_of_another_user_may_be_fetched(host: Host, origin: Path) -> None:
    if os.geteuid() == 0:
        for path in (origin, *origin.rglob("*")):
            os.chown(path, 61_234, 61_234)
    assert fetch_base(host, make_job(f"file://{origin}")) == git(origin, "rev-parse", "HEAD")


def test_a_site_may_change_its_repository(host: Host, origin: Path, tmp_path: Path) -> None:
    git(origin, "branch", "topic")
    fetch_base(host, make_job(origin, branch="topic"))
    second = make_origin(tmp_path / "second", {"other": "file\n"})
    git(second, "branch", "topic/deeper")
    assert fetch_base(host, make_job(second, branch="topic/deeper")) == git(second, "rev-parse", "main")


def test_leftovers_of_an_interrupted_creation_or_fetch_are_removed(host: Host, origin: Path) -> None:
    write(host.work_dir / "mirrors", {"site.new/HEAD": "garbage", "site.new/objects/pack/tmp_pack_x": "garbage"})
    fetch_base(host, make_job(origin))
    mirror = host.work_dir / "mirrors" / "site"
    write(mirror, {"packed-refs.lock": "", "refs/fetched/tip.lock": "", "objects/pack/tmp_pack_x": "half of one"})
    write(origin, {"file": "two\n"})
    newest = commit_all(origin)
    assert fetch_base(host, make_job(origin)) == newest
    assert not list(mirror.rglob("tmp_*"))


def test_many_fetches_leave_few_packs(host: Host, origin: Path) -> None:
    mirror = host.work_dir / "mirrors" / "site"
    first = fetch_base(host, make_job(origin))
    packs = mirror / "objects" / "pack"
    for number in range(24):
        data = f"blob {number}\n".encode()
        name = git(mirror, "hash-object", "-w", "--stdin", stdin=data)
        git(mirror, "pack-objects", "--quiet", str(packs / "pack"), stdin=f"{name}\n".encode())
    write(origin, {"file": "two\n"})
    newest = commit_all(origin)
    assert fetch_base(host, make_job(origin)) == newest
    assert len(list(packs.glob("*.pack"))) < 5
    assert git(mirror, "cat-file", "-t", first) == git(mirror, "cat-file", "-t", newest) == "commit"


def test_attempts_in_several_processes_share_one_mirror(host: Host, origin: Path) -> None:
    expected = git(origin, "rev-parse", "HEAD")
    with ProcessPoolExecutor(3, mp_context=fresh_processes) as pool:
        found = list(pool.map(fetch_into, [host.work_dir] * 6, [origin] * 6))
    assert found == [expected] * 6
    assert sorted(path.name for path in (host.work_dir / "mirrors").iterdir()) == ["site", "site.lock"]


@contextlib.contextmanager
def another_fetch(host: Host, lease: float = 60) -> Iterator[int]:
    """Another worker's process during a fetch for the same mirror, from a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/repository.git"
        worker = fresh_processes.Process(target=fetch_for_ever, args=(host.work_dir, url, lease))
        worker.start()
        try:
            connection, _ = server.accept()
            with connection:
                assert worker.pid
                yield worker.pid
        finally:
            worker.kill()
            worker.join()


def test_waiting_for_another_attempts_fetch_times_out(host: Host, origin: Path) -> None:
    with another_fetch(host):
        error = failure(dataclasses.replace(host, fetch_timeout_seconds=0.1), make_job(origin))
    assert (error.code, error.retryable) == ("fetch_timeout", True)


def test_a_worker_killed_during_a_fetch_releases_the_lock(host: Host, origin: Path) -> None:
    with another_fetch(host) as worker:
        os.kill(worker, signal.SIGKILL)
        assert fetch_base(host, make_job(origin)) == git(origin, "rev-parse", "HEAD")


def test_a_worker_frozen_during_a_fetch_holds_the_lock_no_longer_than_its_lease(host: Host, origin: Path) -> None:
    with another_fetch(host, lease=8) as worker:
        os.kill(worker, signal.SIGSTOP)
        assert fetch_base(host, make_job(origin)) == git(origin, "rev-parse", "HEAD")
        assert psutil.Process(worker).status() == psutil.STATUS_STOPPED


def test_a_site_id_cannot_leave_its_folder(host: Host, origin: Path) -> None:
    for site_id in ("../x", "", "a/b", ".x"):
        with pytest.raises(ValueError):
            fetch_base(host, make_job(origin, site_id=site_id))
