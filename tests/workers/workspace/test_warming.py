"""A host has a site's repository before its first session, which then needs little or no network."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from tests.workers.repositories import commit_all, git, make_host, make_job, make_origin, prepare, write
from workers.errors import EngineError
from workers.job import Host, Limits
from workers.processes.lifeline import Lifeline
from workers.workspace.warming import Seen, SiteRepository, warm


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"file": "one\n"})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path / "work")


def warmed(host: Host, origin: Path, branch: str | None = "main", **limits: int) -> Seen | None:
    return warm(host, SiteRepository("site", str(origin), branch), Limits(**limits), Lifeline(600))


def bases(host: Host) -> list[str]:
    return [folder.name for folder in host.work_dir.glob("bases/site/*")]


@pytest.mark.parametrize("branch", ["main", None])
def test_a_session_on_a_commit_of_the_branch_then_needs_no_network(
    host: Host, origin: Path, branch: str | None
) -> None:
    sha = git(origin, "rev-parse", "HEAD")
    warmed(host, origin, branch)
    assert bases(host) == [sha]
    origin.rename(origin.with_name("gone"))
    assert prepare(make_job(origin, sha=sha), host).base_sha == sha
    assert bases(host) == [sha]


def test_the_commits_that_follow_are_fetched_but_checked_out_only_by_sessions(host: Host, origin: Path) -> None:
    git(origin, "branch", "release/1")
    assert warmed(host, origin) == Seen(["main", "release/1"], [])
    first = bases(host)
    attributes = (
        "# x linguist-generated\n*.txt text\napi/** text linguist-generated\nold/* -linguist-generated\n"
        '"a b" linguist-generated\na\\b linguist-generated\n[attr]made linguist-generated\n*.gen linguist-generated=true'
    )
    write(origin, {"file": "two\n", ".gitattributes": attributes})
    second = commit_all(origin)
    assert warmed(host, origin) == Seen(["main", "release/1"], ["api/**", "!old/*", "*.gen"])
    assert bases(host) == first
    origin.rename(origin.with_name("gone"))
    workspace = prepare(make_job(origin, sha=second), host)
    assert (workspace.checkout / "file").read_text() == "two\n"


def test_it_does_not_wait_for_a_fetch_that_is_under_way(host: Host, origin: Path) -> None:
    (host.work_dir / "mirrors").mkdir(parents=True)
    with open(host.work_dir / "mirrors" / "site.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert warmed(host, origin) is None
    assert bases(host) == []


def test_a_repository_beyond_the_limits_is_not_checked_out(host: Host, origin: Path) -> None:
    with pytest.raises(EngineError) as caught:
        warmed(host, origin, max_disk_files=0)
    assert caught.value.code == "file_limit" and bases(host) == []
