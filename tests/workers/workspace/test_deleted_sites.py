"""Nothing of a deleted site stays on a host, and nothing goes that is still needed."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from tests.workers.repositories import finish, make_host, make_job, make_origin, prepare, stored_diffs, write
from workers.job import Host, Limits
from workers.processes.lifeline import Lifeline
from workers.workspace.deleted_sites import find_sites, remove_site
from workers.workspace.warming import SiteRepository, warm

SITE, OTHER = "8a1f2c34-0000-4000-8000-000000000001", "8a1f2c34-0000-4000-8000-000000000002"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"file": "one\n"})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path / "work")


def removed(host: Host) -> None:
    remove_site(host, SITE, Lifeline(600))


def left(host: Host) -> set[str]:
    """The names of all that is kept for any site."""
    folders = ("mirrors", "bases", "checkouts", "setups")
    return {f"{folder}/{path.name}" for folder in folders for path in (host.work_dir / folder).glob("*")}


def test_all_that_is_kept_for_a_site_is_removed(host: Host, origin: Path) -> None:
    job = make_job(origin, site_id=SITE)
    workspace = prepare(job, host)
    finish(workspace, job)
    workspace.dispose(reusable=True)
    write(host.work_dir, {f"setups/{SITE}/key/left.tar": "x", f"mirrors/{SITE}.damaged/HEAD": "x"})
    assert left(host) >= {f"{folder}/{SITE}" for folder in ("mirrors", "bases", "checkouts", "setups")}
    warm(host, SiteRepository(OTHER, str(origin), "main"), Limits(), Lifeline(600))
    assert find_sites(host) == {SITE, OTHER}
    removed(host)
    assert left(host) == {f"mirrors/{OTHER}", f"mirrors/{OTHER}.lock", f"bases/{OTHER}"}
    assert find_sites(host) == {OTHER}


def test_what_an_attempt_needs_stays_until_it_has_ended(host: Host, origin: Path) -> None:
    """Also that of a worker that was lost: its work may be saved later."""
    job = make_job(origin, site_id=SITE)
    workspace = prepare(job, host)
    write(workspace.checkout, {"file": "two\n"})
    removed(host)
    finish(workspace, job)
    assert b"+two" in stored_diffs(job)["result"]
    workspace.dispose()
    removed(host)
    assert find_sites(host) == set()


def test_a_mirror_that_is_being_fetched_stays(host: Host, origin: Path) -> None:
    warm(host, SiteRepository(SITE, str(origin), "main"), Limits(), Lifeline(600))
    with open(host.work_dir / "mirrors" / f"{SITE}.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        removed(host)
        assert (host.work_dir / "mirrors" / SITE / "HEAD").exists()
    removed(host)
    assert find_sites(host) == set()
