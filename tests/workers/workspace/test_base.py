"""What the attempts on one commit share is made once, and goes when it was not used for long."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.workers.repositories import make_host, make_job, make_origin, prepare
from workers.job import Host
from workers.repository.git import Git
from workers.workspace.base import evict_bases, open_base
from workers.workspace.orphans import discard_workspaces

LONG_AGO = time.time() - 30 * 86_400


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"file": "one\n"})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path / "work")


def bases(host: Host) -> list[Path]:
    return list(host.work_dir.glob("bases/*/*"))


def age(base: Path) -> None:
    for path in (base, base / "base.json"):
        if path.exists():
            os.utime(path, (LONG_AGO, LONG_AGO))


def test_it_is_made_once_and_goes_when_nobody_used_it_for_long(host: Host, origin: Path) -> None:
    workspace = prepare(make_job(origin), host)
    [base] = bases(host)
    made = base.stat()
    prepare(make_job(origin, attempt=2), host)
    assert base.stat() == made
    discard_workspaces(host, [])
    assert bases(host) == [base], "it was used just now"
    age(base)
    discard_workspaces(host, [])
    assert bases(host) == []
    assert workspace.snapshot() == workspace.start_tree, "an attempt that has begun does not need it"
    assert prepare(make_job(origin, attempt=3), host).start_tree == workspace.start_tree


def test_it_stays_while_it_is_held(host: Host, origin: Path) -> None:
    workspace = prepare(make_job(origin), host)
    mirror = Git(host.work_dir / "mirrors" / "site")
    with open_base(host, "site", workspace.base_sha, mirror) as base:
        age(base.folder)
        evict_bases(host)
        assert bases(host) == [base.folder]
    evict_bases(host)
    assert bases(host) == []


def test_too_many_of_them_go_by_their_age(host: Host, origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(make_job(origin), host)
    prepare(make_job(origin, attempt=2, site_id="other"), host)
    for base in bases(host):
        (base / "large").write_bytes(bytes(100_000))
        if base.parent.name == "other":
            os.utime(base / "base.json", (time.time() - 60,) * 2)
    monkeypatch.setattr("workers.workspace.base._KEPT_BYTES", 190_000)
    evict_bases(host)
    assert [base.parent.name for base in bases(host)] == ["site"]


def test_what_a_lost_worker_had_begun_goes_too(host: Host, origin: Path) -> None:
    prepare(make_job(origin), host)
    [base] = bases(host)
    begun = base.with_name(f"{base.name}.abcd")
    begun.mkdir()
    evict_bases(host)
    assert begun.exists()
    age(begun)
    evict_bases(host)
    assert bases(host) == [base]
