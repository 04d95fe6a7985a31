"""A disk that is really full: the failure says so, and that it is the machine's and not the session's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.attempts import Attempt, Engine, code
from tests.workers.engine import IS_ROOT, USUAL_SANDBOX, repository
from workers.job import Host

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="NOT TESTED: a small disk is mounted for it; run the tests as root")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture(params=USUAL_SANDBOX)
def engine(request: pytest.FixtureRequest, small_disk: Path, tmp_path: Path) -> Engine:
    source = repository(tmp_path / "repositories" / "one", [("README", "hello\n"), ("big", "x" * 1024**2)])
    return Engine(Host(small_disk / "work", sandbox=request.param, local_repositories=source.parent), source)


def check(attempt: Attempt, stage: str) -> None:
    assert code(attempt.outcome) == ("disk_full", stage)
    assert attempt.outcome.failure and attempt.outcome.failure.retryable
    assert "AGENT_RUNNERS_WORK_DIR" in attempt.outcome.failure.message


def fill(disk: Path, *, leave: int) -> None:
    (disk / "other").write_bytes(b"\0" * (24 * 1024**2 - leave))


def test_a_disk_that_is_full_when_the_files_are_checked_out(engine: Engine, small_disk: Path) -> None:
    engine.host.work_dir.mkdir()
    fill(small_disk, leave=300 * 1024)
    check(engine.run("true"), "checkout")
    assert engine.is_clean()


def test_a_disk_that_is_full_when_the_work_is_saved(engine: Engine, small_disk: Path) -> None:
    check(engine.run("head -c 12M /dev/urandom > new"), "diff")
    assert engine.is_clean()


def test_there_is_work_again_once_there_is_room(engine: Engine, small_disk: Path) -> None:
    engine.host.work_dir.mkdir()
    fill(small_disk, leave=300 * 1024)
    check(engine.run("echo x > x"), "checkout")
    (small_disk / "other").unlink()
    assert code(engine.run("echo x > x").outcome) is None
    assert "+x" in engine.diff
