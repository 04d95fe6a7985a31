"""A stop from every state: CANCELLED at once, nothing left that runs, the work so far and the steps kept."""

from __future__ import annotations

import contextlib
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from app.config import Settings
from tests.deployment import Deployment, processes_with, seconds_to_sleep, wait_for
from tests.faults.agents import GONE_WITHIN_SECONDS, assert_no_agent_stays, at_work
from tests.faults.conftest import ON_POSTGRES, ON_SQLITE, POSTGRES_ONLY, WORKERS
from tests.faults.sessions import assert_done_at_once, being_fetched, count, held_back, start, with_work
from tests.faults.staging import STOP_STAGING, has_stopped
from tests.s3 import S3Server
from tests.workers.engine import needs_bubblewrap


def stop(deployment: Deployment, runner: dict[str, Any]) -> dict[str, Any]:
    """Stop what the runner does: the caller finds it CANCELLED at once, with the steps that it had."""
    before = deployment.session(runner)
    asked_at = time.monotonic()
    assert deployment.api.delete(f"/agent_runners/{runner['id']}").status_code == 202
    took = time.monotonic() - asked_at
    session = deployment.session(runner)
    assert session["state"] == "CANCELLED"
    assert took < 30, f"the caller waited for {took:.1f} s"
    shown = [step["id"] for step in session["steps"]]
    assert shown[: len(before["steps"])] == [step["id"] for step in before["steps"]], "the steps stay"
    return session


def assert_kept(deployment: Deployment, runner: dict[str, Any], work: str | None) -> None:
    """The work so far became the session's diff, where there was some, and the session stays as it was stopped."""
    if work is not None:
        session = wait_for("the work so far", lambda: with_work(deployment, runner))
        assert work in deployment.diff(runner, session, "result")
    session = deployment.session(runner)
    assert (session["state"], session["attempt"], session["failure"]) == ("CANCELLED", 1, None)
    assert session["has_result_diff"] == (work is not None)


def assert_every_worker_goes_on(deployment: Deployment, name: str) -> None:
    """As many sessions run at once as the workers have room for, and end."""
    room = len(WORKERS) * Settings.session_workers
    runners, mark = held_back(deployment, f"after-{name}", room)
    wait_for("every worker to be busy", lambda: count(deployment, runners, "RUNNING") == room)
    mark.touch()
    assert_done_at_once(deployment, runners)


# A tree that does all it can to stay.


def stubborn(marker: str) -> str:
    """Deaf to signals, with orphans that were forked twice, and others in sessions and groups of their own."""
    deaf = "trap '' TERM HUP INT QUIT"
    orphan = f'sh -c "{deaf}; while :; do sleep {marker}; done"'
    return "\n".join(
        [
            deaf,
            "echo kept > a.txt",
            f"({orphan} &)",
            f"(setsid {orphan} &)",
            f'setsid sh -c "{deaf}; (setsid sleep {marker} &); sleep {marker}" &',
            f"nohup setsid sleep {marker} > /dev/null 2>&1 &",
            "echo begun",
            f"while :; do sleep {marker}; done",
        ]
    )


def assert_stubborn_is_stopped(deployment: Deployment, name: str) -> None:
    marker = seconds_to_sleep()
    runner = start(deployment, name, stubborn(marker))
    deployment.has_step(runner, "begun")
    wait_for("the whole tree", lambda: len(processes_with(f"sleep {marker}")) >= 8)

    stop(deployment, runner)

    wait_for("the end of the tree", lambda: not processes_with(marker), GONE_WITHIN_SECONDS)
    assert_kept(deployment, runner, "+kept")
    assert any("begun" in step["title"] + step["message"] for step in deployment.session(runner)["steps"])


@ON_SQLITE
def test_nothing_is_left_of_a_tree_that_does_all_it_can_to_stay(deployment: Deployment) -> None:
    assert_stubborn_is_stopped(deployment, "stubborn")


@needs_bubblewrap
@POSTGRES_ONLY
def test_in_a_sandbox_nothing_is_left_of_such_a_tree_and_the_work_of_a_lost_worker_is_kept(
    one_deployment: Deployment,
) -> None:
    deployment = one_deployment
    for name in WORKERS:
        deployment.stop(name)
    # As root its sessions have overlays.
    deployment.start_worker("walled", SANDBOX="bubblewrap")
    assert_stubborn_is_stopped(deployment, "stubborn-walled")

    runner = start(deployment, "lost-walled", f"echo kept > a.txt; echo begun; sleep {seconds_to_sleep()}")
    deployment.has_step(runner, "begun")
    deployment.stop("walled", signal.SIGKILL)
    stop(deployment, runner)
    # As an operator starts it, so that it starts in earnest what saves the work: see `tests.background`.
    deployment.start_worker("walled", forked=False, SANDBOX="bubblewrap")
    assert_kept(deployment, runner, "+kept")


# While nobody is there to run it.


@ON_SQLITE
def test_a_session_that_is_stopped_while_no_worker_is_up_never_runs(deployment: Deployment) -> None:
    for name in WORKERS:
        deployment.stop(name)
    mark = deployment.folder / f"mark-{uuid.uuid4().hex}"
    stopped = start(deployment, "queued", f"touch {mark}; echo ran > a.txt")

    stop(deployment, stopped)

    later = start(deployment, "queued-later", "echo done > a.txt")
    for name in WORKERS:
        deployment.start_worker(name)
    assert_done_at_once(deployment, [later])
    session = deployment.session(stopped)
    assert (session["state"], session["attempt"], session["steps"]) == ("CANCELLED", 0, [])
    assert not mark.exists()


# While a worker has it.


@contextlib.contextmanager
def being_set_up(deployment: Deployment, name: str) -> Iterator[dict[str, Any]]:
    marker = seconds_to_sleep()
    repository = deployment.make_repository({"a.txt": "a\n"}, name)
    setup = f"echo no work > a.txt; echo set up; sleep {marker}"
    runner = deployment.run(deployment.make_site(repository, name=name, setup_command=setup), "echo done > a.txt")
    deployment.has_step(runner, "set up")
    yield runner


@contextlib.contextmanager
def at_its_agent(deployment: Deployment, name: str) -> Iterator[dict[str, Any]]:
    marker = seconds_to_sleep()
    runner = start(deployment, name, f"echo kept > a.txt; echo begun; sleep {marker}")
    deployment.has_step(runner, "begun")
    at_work(deployment, marker)
    yield runner


@contextlib.contextmanager
def having_its_diff_made(deployment: Deployment, name: str) -> Iterator[dict[str, Any]]:
    """Git is stopped before it stages what the agent left."""
    # Made by the agent, since git also stages what there is before it begins.
    runner = start(deployment, name, f"echo kept > a.txt; touch {deployment.folder / STOP_STAGING}")
    wait_for("git to stage the work", lambda: has_stopped(deployment.folder))
    yield runner


@dataclass(frozen=True)
class State:
    """How a session gets there, and a line of the work that is kept of it."""

    reach: Callable[[Deployment, str], AbstractContextManager[dict[str, Any]]]
    work: str | None


STATES = [
    State(being_fetched, None),
    State(being_set_up, None),
    State(at_its_agent, "+kept"),
    State(having_its_diff_made, "+kept"),
]


@contextlib.contextmanager
def in_each_state(deployment: Deployment, name: str) -> Iterator[list[dict[str, Any]]]:
    """A runner in each of the states, which take all the room there is."""
    assert len(STATES) == len(WORKERS) * Settings.session_workers
    with contextlib.ExitStack() as reached:
        yield [reached.enter_context(state.reach(deployment, f"{name}-{state.reach.__name__}")) for state in STATES]


@ON_SQLITE
def test_a_stop_reaches_a_session_whatever_it_is_at(deployment: Deployment) -> None:
    with in_each_state(deployment, "stopped") as runners:
        for runner in runners:
            stop(deployment, runner)
        assert_no_agent_stays(deployment)
        for state, runner in zip(STATES, runners, strict=True):
            assert_kept(deployment, runner, state.work)
        assert_every_worker_goes_on(deployment, "stopped")


@ON_POSTGRES
@pytest.mark.parametrize("victim", ["worker", "pool"])
def test_the_work_of_a_session_that_is_stopped_when_its_worker_was_lost_is_kept(
    deployment: Deployment, victim: str
) -> None:
    marker = seconds_to_sleep()
    runner = start(deployment, f"lost-{victim}", f"echo kept > a.txt; echo begun; sleep {marker}")
    deployment.has_step(runner, "begun")
    found = at_work(deployment, marker)
    if victim == "worker":
        # With all its processes, so that none is left to save the work.
        deployment.stop(found.worker, signal.SIGKILL)
        stop(deployment, runner)
        deployment.start_worker(found.worker)
    else:
        worker = deployment.processes[found.worker]
        # It would requeue the session before the stop.
        worker.send_signal(signal.SIGSTOP)
        found.pool.kill()
        stop(deployment, runner)
        worker.send_signal(signal.SIGCONT)
    assert_kept(deployment, runner, "+kept")
    assert_every_worker_goes_on(deployment, f"lost-{victim}")


@POSTGRES_ONLY
def test_a_stop_whose_message_is_lost_takes_effect_all_the_same(one_deployment: Deployment) -> None:
    deployment = one_deployment
    with in_each_state(deployment, "lost") as runners:
        deployment.kill("broker")
        try:
            for runner in runners:
                stop(deployment, runner)
            assert_no_agent_stays(deployment)
            for state, runner in zip(STATES, runners, strict=True):
                assert_kept(deployment, runner, state.work)
        finally:
            deployment.start("broker", "broker")
    assert_every_worker_goes_on(deployment, "lost")


@POSTGRES_ONLY
def test_the_work_of_a_session_that_is_stopped_during_its_upload_is_kept_once_the_store_is_back(
    one_deployment: Deployment, s3: S3Server
) -> None:
    mark, marker = one_deployment.folder / f"mark-{uuid.uuid4().hex}", seconds_to_sleep()
    waiting = f"sh -c 'until test -e {mark}; do sleep 0.4; done' {marker}"
    runner = start(one_deployment, "uploading", f"echo kept > a.txt; echo begun; {waiting}")
    session = one_deployment.has_step(runner, "begun")
    worker = at_work(one_deployment, marker).worker

    def upload_failed() -> bool:
        lines = one_deployment.log(worker).splitlines()
        return any("store_unavailable" in line and session["id"] in line for line in lines)

    s3.kill()
    try:
        mark.touch()
        wait_for("the upload to fail", upload_failed)
        stop(one_deployment, runner)
        assert_no_agent_stays(one_deployment)
    finally:
        s3.start()

    assert_kept(one_deployment, runner, "+kept")
    assert_every_worker_goes_on(one_deployment, "uploading")
