"""A disk that is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.deployment import Deployment
from tests.faults.conftest import WORKERS
from tests.faults.sessions import start

pytestmark = pytest.mark.xdist_group("faults-on_postgres")

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
