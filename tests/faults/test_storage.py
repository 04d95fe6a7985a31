"""An artifact store that is away for a while, and a disk that is full."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.deployment import Deployment
from tests.faults.conftest import SLOW, WORKERS
from tests.faults.sessions import assert_done_at_once, count, start
from tests.s3 import S3Server

pytestmark = SLOW

DISK_MEGABYTES = 32


@pytest.fixture
def small_disk(one_deployment: Deployment) -> Iterator[Deployment]:
    """With one worker, whose mirrors and workspaces lie on a small file system."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root mounts a small file system; run the tests as root")
    for name in WORKERS:
        one_deployment.stop(name)
    folder = one_deployment.folder / "small"
    folder.mkdir()
    options = f"size={DISK_MEGABYTES}m,mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(folder)], check=True)
    try:
        one_deployment.start_worker("small")
        yield one_deployment
        one_deployment.stop("small")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_ends_the_session_with_its_own_code_and_the_worker_goes_on(small_disk: Deployment) -> None:
    before = small_disk.ended(start(small_disk, "room", "echo fine > a.txt"))
    full = small_disk.ended(start(small_disk, "full", f"head -c {DISK_MEGABYTES}M /dev/urandom > big || true"))
    after = small_disk.ended(start(small_disk, "room-again", "echo fine > a.txt"))

    assert (full["state"], full["failure"]["code"]) == ("ERROR", "disk_full"), full["failure"]
    assert [before["state"], after["state"]] == ["DONE", "DONE"], after["failure"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("away", "back", "seconds"),
    [(S3Server.kill, S3Server.start, 120), (S3Server.freeze, S3Server.thaw, 30)],
    ids=["killed", "frozen"],
)
def test_a_store_that_is_away_for_a_while_costs_no_work(
    one_deployment: Deployment,
    s3: S3Server,
    away: Callable[[S3Server], None],
    back: Callable[[S3Server], None],
    seconds: float,
) -> None:
    begun = start(one_deployment, f"store-{away.__name__}", "echo begun; sleep 3; echo done > a.txt")
    one_deployment.has_step(begun, "begun")

    away(s3)
    try:
        meanwhile = start(one_deployment, f"meanwhile-{away.__name__}", "echo done > a.txt")
        time.sleep(seconds)
        assert count(one_deployment, [begun, meanwhile], "RUNNING") == 2, "both wait with their work"
    finally:
        back(s3)

    assert_done_at_once(one_deployment, [begun, meanwhile])


def test_a_store_that_stays_away_ends_the_session_with_its_own_code(one_deployment: Deployment, s3: S3Server) -> None:
    for name in WORKERS:
        one_deployment.stop(name)
    one_deployment.start_worker("hasty", UPLOAD_PATIENCE_SECONDS="1")
    runner = start(one_deployment, "store-gone", "echo begun; sleep 2; echo done > a.txt")
    one_deployment.has_step(runner, "begun")

    s3.kill()
    try:
        session = one_deployment.ended(runner)
    finally:
        s3.start()

    assert session["state"] == "ERROR"
    assert (session["failure"]["code"], session["failure"]["retryable"]) == ("artifact_store_unavailable", True)
    assert not session["has_result_diff"]
