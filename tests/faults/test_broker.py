"""A broker that is killed, emptied, frozen or out of reach: everything runs once, and no caller waits for it."""

from __future__ import annotations

import signal
import time

import pytest
import redis

from app import queue
from tests.deployment import Deployment, processes_with, seconds_to_sleep, wait_for
from tests.faults.agents import GONE_WITHIN_SECONDS, at_work
from tests.faults.conftest import ON_POSTGRES, ON_SQLITE, SLOW, WORKERS
from tests.faults.network import network
from tests.faults.sessions import assert_done_at_once, count, held_back

SOCKET_TIMEOUT_SECONDS = 10.0
"""Of connections to the broker."""


@pytest.fixture
def busy(deployment: Deployment) -> Deployment:
    """With one worker, which runs three sessions at once."""
    for name in WORKERS:
        deployment.stop(name)
    deployment.start_worker("three", SESSION_WORKERS="3")
    return deployment


@ON_SQLITE
def test_a_broker_that_is_down_for_half_a_minute_delays_what_waits_and_nothing_else(busy: Deployment) -> None:
    runners, mark = held_back(busy, "broker-killed", 6)
    wait_for("three to run", lambda: count(busy, runners, "RUNNING") == 3)

    busy.kill("broker")
    down_until = time.monotonic() + 30
    mark.touch()
    wait_for("the end of those that ran", lambda: count(busy, runners, "DONE") == 3)
    assert count(busy, runners, "NEW") == 3
    time.sleep(max(down_until - time.monotonic(), 0))
    busy.start("broker", "broker")

    assert_done_at_once(busy, runners)


@ON_SQLITE
def test_sessions_are_dispatched_again_to_a_broker_that_lost_everything(busy: Deployment) -> None:
    runners, mark = held_back(busy, "flushed", 6)
    wait_for("three to run", lambda: count(busy, runners, "RUNNING") == 3)

    with redis.Redis(unix_socket_path=str(busy.broker_socket)) as broker:
        broker.flushall()
        mark.touch()
        assert_done_at_once(busy, runners)
        broker.flushall()
    late, mark = held_back(busy, "after-the-flush", 1)
    mark.touch()
    assert_done_at_once(busy, late)


@ON_POSTGRES
def test_no_caller_waits_for_a_frozen_broker_and_a_stop_takes_effect_by_heartbeat(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "broker-frozen"), name="broker-frozen")
    marker = seconds_to_sleep()
    running = deployment.run(site, f"echo kept > a.txt; echo half-way; sleep {marker}")
    at_work(deployment, marker)
    deployment.has_step(running, "half-way")

    def slowest() -> float:
        """Seconds that the slowest call took, of a number of starts and stops."""
        took = []
        for _ in range(10):
            began = time.monotonic()
            runner = deployment.run(site, "sleep 3600")
            took.append(time.monotonic() - began)
            began = time.monotonic()
            assert deployment.api.delete(f"/agent_runners/{runner['id']}").status_code == 202
            took.append(time.monotonic() - began)
        return max(took)

    broker = deployment.processes["broker"]

    def nobody_waits() -> bool:
        """Whether no call waits for a broker that has just frozen: it would wait for the time-out of its socket."""
        broker.send_signal(signal.SIGCONT)
        time.sleep(queue.BACKOFF_SECONDS)
        broker.send_signal(signal.SIGSTOP)
        return slowest() < SOCKET_TIMEOUT_SECONDS

    try:
        # A busy machine may take as long once, and who waited would do so each time.
        assert any(nobody_waits() for _ in range(3)), "a caller waited for the broker"
        assert deployment.api.delete(f"/agent_runners/{running['id']}").status_code == 202
        wait_for("the end of the agent", lambda: not processes_with(marker), GONE_WITHIN_SECONDS)
        wait_for("the work so far", lambda: deployment.session(running)["has_result_diff"])
    finally:
        broker.send_signal(signal.SIGCONT)
    after = deployment.run(site, "echo done > a.txt")
    assert_done_at_once(deployment, [after])


@SLOW
def test_a_worker_cut_off_from_the_broker_for_70_seconds_goes_on_and_takes_up_what_waits(
    one_deployment: Deployment,
) -> None:
    deployment = one_deployment
    for name in WORKERS:
        deployment.stop(name)
    with network(deployment.broker_socket) as between:
        deployment.start_worker("far", BROKER_URL=between.url)
        runners, mark = held_back(deployment, "cut-off", 4)
        wait_for("two to run", lambda: count(deployment, runners, "RUNNING") == 2)

        between.cut()
        mended_at = time.monotonic() + 70
        mark.touch()
        wait_for("the end of those that ran", lambda: count(deployment, runners, "DONE") == 2)
        time.sleep(max(mended_at - time.monotonic(), 0))
        assert count(deployment, runners, "NEW") == 2
        between.mend()

        assert_done_at_once(deployment, runners)
        deployment.stop("far")
