"""However many repositories a host has fetched, its disk has room for the next one."""

from __future__ import annotations

import dataclasses
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounts import needs_mounts, small_disk
from tests.workers.engine import eventually
from tests.workers.repositories import finish, git, make_host, make_job, make_origin, prepare
from workers.job import Host, Limits
from workers.processes.lifeline import Lifeline
from workers.workspace.kept_mirrors import evict_mirrors
from workers.workspace.warming import SiteRepository, warm

pytestmark = needs_mounts
DISK_MEGABYTES = 24
PART = DISK_MEGABYTES * 1024**2 // 96
"""Bytes, in which the sizes below are counted: 96 of them fill the disk, whatever its size."""
SITES = [str(uuid.uuid4()) for _ in range(3)]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    folder = tmp_path / "work"
    folder.mkdir()
    with small_disk(folder, megabytes=DISK_MEGABYTES):
        yield dataclasses.replace(make_host(folder), max_fetch_bytes=20 * PART)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository of a twelfth of the disk, nothing of which is checked out."""
    made = make_origin(tmp_path / "origin", {"file": "one\n", "large": ""})
    (made / "large").write_bytes(os.urandom(8 * PART))
    git(made, "add", "large")
    git(made, "commit", "--quiet", "--message", "Add a large file")
    return made


def fetch(host: Host, origin: Path, site_id: str, hours_ago: float) -> None:
    warm(host, SiteRepository(site_id, str(origin), "main"), Limits(), Lifeline(600))
    at = time.time() - 3600 * hours_ago
    for path in (host.work_dir / "mirrors" / site_id, *(host.work_dir / "bases" / site_id).glob("*/base.json")):
        os.utime(path, (at, at))


def kept(host: Host) -> set[str]:
    return {path.name for path in (host.work_dir / "mirrors").iterdir() if path.is_dir()}


def fill(host: Host, *, free: int) -> None:
    """Leave only so many bytes of the disk free, once what was discarded is gone."""
    eventually(lambda: not (host.work_dir / "trash.deleting").exists(), "the trash is not deleted")
    (host.work_dir / "other").unlink(missing_ok=True)
    disk = os.statvfs(host.work_dir)
    (host.work_dir / "other").write_bytes(bytes(max(0, disk.f_bavail * disk.f_frsize - free)))


def test_the_mirror_that_was_used_longest_ago_makes_room(host: Host, origin: Path) -> None:
    for hours_ago, site_id in enumerate(SITES, 1):
        fetch(host, origin, site_id, hours_ago)
    evict_mirrors(host)
    assert kept(host) == set(SITES), "there is room"
    fill(host, free=4 * PART)
    evict_mirrors(host)
    assert kept(host) == set(SITES[:2])
    (host.work_dir / "other").unlink()
    job = make_job(origin, site_id=SITES[2])
    workspace = prepare(job, host)
    finish(workspace, job)
    workspace.dispose()
    assert kept(host) == set(SITES)


def test_what_is_in_use_stays_however_full_the_disk_is(host: Host, origin: Path) -> None:
    job = make_job(origin, site_id=SITES[0])
    workspace = prepare(job, host)
    fetch(host, origin, SITES[0], 2)
    fetch(host, origin, SITES[1], 0)
    fill(host, free=PART)
    evict_mirrors(host)
    assert kept(host) == set(SITES[:2]), "one is borrowed from, and one was used just now"
    workspace.dispose()
    fill(host, free=PART)
    evict_mirrors(host)
    assert kept(host) == {SITES[1]}
