"""A real worker that runs one session at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from celery.concurrency.asynpool import AsynPool

from app.queue import SESSIONS
from tasks.extensions.session_pool import OneTaskPool, OneTaskWorker, SessionPool
from tests.deployment import Deployment, seconds_to_sleep, wait_for
from tests.faults.agents import at_work
from tests.ports import free_port

FOR_EVER = "3600"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One without workers.

    Nothing sweeps: a process also ends after a message for which no session is left, and sweeps send such messages.
    """
    folder = tmp_path_factory.mktemp("pool")
    deployment = Deployment(
        folder, "", free_port(), forked=True, AGENTS="shell", SESSION_WORKERS="1", REDISPATCH_SECONDS="60"
    )
    try:
        deployment.start_api()
        deployment.make_repository({"a.txt": "a\n"})
        yield deployment
    finally:
        deployment.stop_all()


def test_the_methods_that_the_pool_replaces_exist_in_celery() -> None:
    """Under another name they would never be called."""
    pool, process = OneTaskPool.__mro__, OneTaskWorker.__mro__
    for name in ("process_flush_queues", "on_job_ready", "on_job_process_lost"):
        assert any(name in vars(each) for each in pool[pool.index(AsynPool) :])
    assert any("_ensure_messages_consumed" in vars(each) for each in process[1:])


@contextlib.contextmanager
def worker(deployment: Deployment, lingers: str) -> Iterator[dict[str, Any]]:
    """A worker whose processes linger for so many seconds at their end, and a site for it."""
    command = [sys.executable, "-m", "tests.tasks.lingering", lingers]
    # A message that the worker of another test has left would take a process from the sessions of this one.
    with redis.Redis(unix_socket_path=str(deployment.broker_socket)) as broker:
        broker.delete(SESSIONS)
    with open(deployment.folder / "worker.log", "ab") as log:
        deployment.processes["worker"] = subprocess.Popen(
            command, env=deployment.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield deployment.make_site(deployment.folder / "repositories" / "sample")
    finally:
        deployment.stop("worker", signal.SIGKILL)


def test_a_session_starts_while_the_process_of_the_one_before_it_is_still_there(
    deployment: Deployment, tmp_path: Path
) -> None:
    with worker(deployment, FOR_EVER) as site:
        mark, first, second = tmp_path / "mark", seconds_to_sleep(), seconds_to_sleep()
        waits = f"sh -c 'until test -e {mark}; do sleep 0.1; done' {first}"
        runner = deployment.run(site, waits)
        before = at_work(deployment, first).pool
        mark.touch()
        assert deployment.ended(runner)["state"] == "DONE"

        runner = deployment.run(site, f"sleep {second}")

        assert at_work(deployment, second).pool.pid != before.pid
        assert before.is_running()
        deployment.call("DELETE", f"/agent_runners/{runner['id']}/sessions/{runner['latest_session_id']}")
        assert deployment.ended(runner)["state"] == "CANCELLED"


def test_processes_are_replaced_as_soon_as_they_have_ended(deployment: Deployment, tmp_path: Path) -> None:
    """More sessions than there are processes: each waits for the end of an earlier one's."""
    with worker(deployment, "0.5") as site:
        seen = tmp_path / "seen"
        script = f"echo begins >> {seen}; sleep 0.2; echo ends >> {seen}"
        runners = [deployment.run(site, script) for _ in range(4)]
        for runner in runners:
            assert deployment.ended(runner)["state"] == "DONE"
        assert seen.read_text().split() == ["begins", "ends"] * len(runners), "no two run at once"
        pool = deployment.processes["worker"].pid
        wait_for("the processes to be replaced", lambda: not zombies(pool))


def zombies(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children() if child.status() == psutil.STATUS_ZOMBIE]


def test_a_pool_that_is_stopped_takes_no_messages() -> None:
    """Celery asks once more before it leaves its loop."""
    assert SessionPool(1).num_processes == 0
