"""A real worker that runs one session at a time, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from celery.concurrency.asynpool import AsynPool

from tasks.extensions.session_pool import OneTaskPool, OneTaskWorker, SessionPool
from tests.deployment import Deployment, seconds_to_sleep, wait_for
from tests.faults.agents import at_work
from tests.ports import free_port
from tests.program import Started


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """One without workers.

    Nothing sweeps: a process also ends after a message for which no session is left, and sweeps send such messages.
    """
    deployment = Deployment(
        tmp_path, "", free_port(), forked=True, AGENTS="shell", SESSION_WORKERS="1", REDISPATCH_SECONDS="60"
    )
    try:
        deployment.start_api()
        yield deployment
    finally:
        deployment.stop_all()


def test_the_methods_that_the_pool_replaces_exist_in_celery() -> None:
    """Under another name they would never be called."""
    pool, process = OneTaskPool.__mro__, OneTaskWorker.__mro__
    for name in (
        "process_flush_queues",
        "on_job_ready",
        "on_job_process_lost",
        "_track_child_process",
        "_event_process_exit",
    ):
        assert any(name in vars(each) for each in pool[pool.index(AsynPool) :])
    assert any("_ensure_messages_consumed" in vars(each) for each in process[1:])


def test_a_session_waits_for_the_end_of_an_earlier_one_and_not_for_that_of_its_process(
    deployment: Deployment, tmp_path: Path
) -> None:
    go, mark, seen = tmp_path / "go", tmp_path / "mark", tmp_path / "seen"
    log = tmp_path / "worker.log"
    deployment.processes["worker"] = Started([str(go)], deployment.environment(), log, "tests.tasks.lingering")
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}))
    first, second = seconds_to_sleep(), seconds_to_sleep()
    runner = deployment.run(site, f"sh -c 'until test -e {mark}; do sleep 0.1; done' {first}")
    before = at_work(deployment, first).pool
    mark.touch()
    assert deployment.ended(runner)["state"] == "DONE"

    # The process of the first is still there.
    runner = deployment.run(site, f"sleep {second}")
    assert at_work(deployment, second).pool.pid != before.pid
    assert before.is_running()
    deployment.call("DELETE", f"/agent_runners/{runner['id']}/sessions/{runner['latest_session_id']}")
    assert deployment.ended(runner)["state"] == "CANCELLED"

    # More sessions than there are processes: each waits for the end of an earlier one's.
    go.touch()
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
