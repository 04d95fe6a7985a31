"""An artifact store that is unavailable for a while, and a disk that is full."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests import patiently
from tests.deployment import Deployment, deployed, wait_for
from tests.faults.conftest import ON_POSTGRES, SLOW, WORKERS, checked
from tests.faults.sessions import assert_done_at_once, count, start
from tests.mounts import needs_mounts, small_disk
from tests.ports import free_port
from tests.s3 import S3Server

DISK_MEGABYTES = 32
FULL_SECONDS = 10.0


@pytest.fixture
def small_work_disk(deployment: Deployment) -> Iterator[Deployment]:
    """With one worker, whose mirrors and workspaces lie on a small file system."""
    for name in WORKERS:
        deployment.stop(name)
    folder = deployment.folder / "small"
    folder.mkdir()
    with small_disk(folder, megabytes=DISK_MEGABYTES):
        deployment.start_worker("small")
        yield deployment
        deployment.stop("small")


@ON_POSTGRES
@needs_mounts
def test_a_full_disk_ends_the_session_with_its_own_code_and_the_worker_goes_on(small_work_disk: Deployment) -> None:
    before = small_work_disk.ended(start(small_work_disk, "room", "echo fine > a.txt"))
    full = small_work_disk.ended(
        start(small_work_disk, "full", f"head -c {DISK_MEGABYTES}M /dev/urandom > big || true")
    )
    after = small_work_disk.ended(start(small_work_disk, "room-again", "echo fine > a.txt"))

    assert (full["state"], full["failure"]["code"]) == ("ERROR", "disk_full"), full["failure"]
    assert [before["state"], after["state"]] == ["DONE", "DONE"], after["failure"]


@pytest.fixture
def small_store(on_sqlite: Deployment) -> Iterator[Deployment]:
    """Its artifacts lie on a small file system for a while, beside what was stored before."""
    store = on_sqlite.artifacts
    with tempfile.TemporaryDirectory() as before:
        shutil.copytree(store, before, dirs_exist_ok=True)
        with small_disk(store, megabytes=DISK_MEGABYTES):
            shutil.copytree(before, store, dirs_exist_ok=True)
            yield from checked(on_sqlite)
            shutil.copytree(store, before, dirs_exist_ok=True)
        shutil.copytree(before, store, dirs_exist_ok=True)


def upload(deployment: Deployment) -> httpx.Response:
    """The answer to an upload of a mebibyte."""
    fields = {"filename": "a.bin", "content_type": "application/octet-stream"}
    signed = deployment.call("POST", "/agent_runners/upload_url", json=fields)
    return patiently.put(signed["upload_url"], headers=signed["headers"], content=b"x" * 1024**2)


@needs_mounts
@pytest.mark.xdist_group("faults-on_sqlite")
def test_a_store_whose_disk_is_full_for_a_while_costs_no_work(small_store: Deployment) -> None:
    mark = small_store.folder / f"mark-{uuid.uuid4().hex}"
    script = f"echo begun; until test -e {mark}; do sleep 0.4; done; echo done > a.txt; head -c 64K /dev/urandom > b"
    begun = start(small_store, "store-full", script)
    session_id = small_store.has_step(begun, "begun")["id"]

    fill(small_store.artifacts / "other")
    try:
        mark.touch()
        wait_for("the upload to fail", lambda: any(is_unavailable(small_store, name, session_id) for name in WORKERS))
        refused = upload(small_store)
        assert (refused.status_code, refused.json()["error_code"]) == (503, "artifact_store_unavailable")
        time.sleep(FULL_SECONDS)
        assert count(small_store, [begun], "RUNNING") == 1, "it waits with its work"
    finally:
        (small_store.artifacts / "other").unlink()

    assert_done_at_once(small_store, [begun])
    assert upload(small_store).is_success
    assert not list(small_store.artifacts.rglob("*.draft"))


def fill(path: Path) -> None:
    """Write until there is no room."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def is_unavailable(deployment: Deployment, worker: str, session_id: str) -> bool:
    return any("store_unavailable" in line and session_id in line for line in deployment.log(worker).splitlines())


@needs_mounts
def test_a_data_folder_whose_disk_is_full_for_a_while_ends_no_worker(tmp_path: Path) -> None:
    """The database, the broker's file and the artifacts are in it."""
    data = tmp_path / "data"
    data.mkdir()
    with small_disk(data, megabytes=2 * DISK_MEGABYTES), deployed(tmp_path, "", free_port(), forked=True) as deployment:
        assert_done_at_once(deployment, [start(deployment, "before", "echo done > a.txt")])
        fill(data / "other")
        try:
            with contextlib.suppress(AssertionError, httpx.TransportError):
                start(deployment, "meanwhile", "echo done > a.txt")
            time.sleep(2 * FULL_SECONDS)
        finally:
            (data / "other").unlink()
        assert_done_at_once(deployment, [start(deployment, "after", "echo done > a.txt")])
        for name, process in deployment.processes.items():
            assert process.poll() is None, deployment.log(name)[-2000:]


@SLOW
@pytest.mark.parametrize(
    ("cut", "back", "seconds"),
    [(S3Server.kill, S3Server.start, 45), (S3Server.freeze, S3Server.thaw, 30)],
    ids=["killed", "frozen"],
)
def test_a_store_that_is_unavailable_for_a_while_costs_no_work(
    one_deployment: Deployment,
    s3: S3Server,
    cut: Callable[[S3Server], None],
    back: Callable[[S3Server], None],
    seconds: float,
) -> None:
    mark = one_deployment.folder / f"mark-{cut.__name__}"
    script = f"echo begun; until test -e {mark}; do sleep 0.4; done; echo done > a.txt"
    begun = start(one_deployment, f"store-{cut.__name__}", script)
    one_deployment.has_step(begun, "begun")

    cut(s3)
    try:
        mark.touch()
        meanwhile = start(one_deployment, f"meanwhile-{cut.__name__}", "echo done > a.txt")
        wait_for("both to run", lambda: count(one_deployment, [begun, meanwhile], "RUNNING") == 2)
        time.sleep(seconds)
        assert count(one_deployment, [begun, meanwhile], "RUNNING") == 2, "both wait with their work"
    finally:
        back(s3)

    assert_done_at_once(one_deployment, [begun, meanwhile])


@SLOW
def test_a_store_that_stays_unavailable_ends_the_session_with_its_own_code(
    one_deployment: Deployment, s3: S3Server
) -> None:
    for name in WORKERS:
        one_deployment.stop(name)
    one_deployment.start_worker("hasty", UPLOAD_PATIENCE_SECONDS="1")
    mark = one_deployment.folder / "mark-store-gone"
    script = f"echo begun; until test -e {mark}; do sleep 0.4; done; echo done > a.txt"
    runner = start(one_deployment, "store-gone", script)
    one_deployment.has_step(runner, "begun")

    s3.kill()
    try:
        mark.touch()
        session = one_deployment.ended(runner)
    finally:
        s3.start()

    assert session["state"] == "ERROR"
    assert (session["failure"]["code"], session["failure"]["retryable"]) == ("artifact_store_unavailable", True)
    assert not session["has_result_diff"]
