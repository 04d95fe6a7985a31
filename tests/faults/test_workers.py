"""Workers that are killed, frozen or ended: the session runs again elsewhere, once, and says so."""

from __future__ import annotations

import contextlib
import datetime
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from app.config import Settings
from tests.deployment import Deployment, deployed, processes_with, seconds_to_sleep, wait_for
from tests.faults import invariants
from tests.faults.agents import GONE_WITHIN_SECONDS, at_work
from tests.faults.conftest import ON_POSTGRES, ON_SQLITE, POSTGRES_ONLY, SLOW, WORKERS
from tests.faults.sessions import assert_ran_again, being_fetched, count, hanging_once, start, with_work
from tests.ports import free_port
from tests.workers.engine import needs_bubblewrap

REAL = ("LEASE_SECONDS", "HEARTBEAT_SECONDS", "SWEEP_SECONDS", "REDISPATCH_SECONDS", "SOFT_SHUTDOWN_SECONDS")
WITHIN = datetime.timedelta(seconds=45)


@ON_SQLITE
def test_a_worker_that_is_killed_leaves_no_agent_and_the_session_runs_again(deployment: Deployment) -> None:
    script, marker = hanging_once(deployment)
    runner = start(deployment, "killed", script)
    found = at_work(deployment, marker)
    deployment.has_step(runner, "first try")

    deployment.kill(found.worker)

    wait_for("the end of the agent", lambda: not processes_with(marker), GONE_WITHIN_SECONDS)
    wait_for("the end of the pool", lambda: not found.pool.is_running(), GONE_WITHIN_SECONDS)
    assert_ran_again(deployment, runner)


@ON_POSTGRES
def test_a_process_of_the_pool_that_is_killed_leaves_no_agent_and_a_worker_that_goes_on(
    deployment: Deployment,
) -> None:
    script, marker = hanging_once(deployment)
    runner = start(deployment, "pool-killed", script)
    found = at_work(deployment, marker)
    deployment.has_step(runner, "first try")

    found.pool.kill()

    wait_for("the end of the agent", lambda: not processes_with(marker), GONE_WITHIN_SECONDS)
    assert_ran_again(deployment, runner)
    assert deployment.processes[found.worker].poll() is None


@contextlib.contextmanager
def patient(deployment: Deployment) -> Iterator[str]:
    """A worker whose leases and heartbeats take an hour: nothing that waits for them comes within a test."""
    for name in WORKERS:
        deployment.stop(name)
    settings = {"LEASE_SECONDS": "3600", "HEARTBEAT_SECONDS": "900"}
    deployment.start_worker("patient", **settings)
    yield "patient"
    # If it was killed, this one finds what the first one left.
    if "patient" not in deployment.processes:
        deployment.start_worker("patient", **settings)


@ON_POSTGRES
@pytest.mark.parametrize("victim", ["worker", "pool"])
def test_the_session_of_a_process_that_is_killed_does_not_wait_for_the_end_of_its_lease(
    deployment: Deployment, victim: str
) -> None:
    script, marker = hanging_once(deployment)
    with patient(deployment) as worker:
        runner = start(deployment, f"patient-{victim}", script)
        found = at_work(deployment, marker)
        deployment.has_step(runner, "first try")
        if victim == "worker":
            deployment.kill(worker)
        else:
            found.pool.kill()
    assert_ran_again(deployment, runner)


@POSTGRES_ONLY
@pytest.mark.parametrize("victim", ["worker", "pool"])
def test_neither_does_one_that_is_killed_before_it_has_a_workspace(one_deployment: Deployment, victim: str) -> None:
    deployment = one_deployment
    with contextlib.ExitStack() as until_fetched:
        with patient(deployment) as worker:
            name = f"patient-fetch-{victim}-{uuid.uuid4().hex[:8]}"
            runner = until_fetched.enter_context(being_fetched(deployment, name))
            found = at_work(deployment, deployment.call("GET", f"/sites/{runner['site_id']}")["repo_url"])
            if victim == "worker":
                deployment.kill(worker)
            else:
                found.pool.kill()
        wait_for("the next attempt", lambda: deployment.session(runner)["attempt"] == 2)
    assert deployment.ended(runner)["failure"]["stage"] == "checkout"


@ON_SQLITE
def test_one_of_two_that_sweep_is_enough(deployment: Deployment) -> None:
    deployment.kill("sweep")
    try:
        script, marker = hanging_once(deployment)
        runner = start(deployment, "swept", script)
        found = at_work(deployment, marker)
        deployment.has_step(runner, "first try")
        deployment.kill(found.worker)
        assert_ran_again(deployment, runner)
    finally:
        deployment.start("sweep", "worker", "sweep")


@POSTGRES_ONLY
def test_a_sweep_worker_ends_when_its_timer_does(one_deployment: Deployment) -> None:
    """So that whoever looks after it starts it again. The clock is a process beside it."""
    sweeping = one_deployment.processes["sweep-2"]
    beside = psutil.Process(sweeping.pid).children
    wait_for("the pool and the clock", lambda: len(beside()) == 2)
    for child in beside():
        child.kill()
    wait_for("the end of the worker", lambda: sweeping.poll() is not None)
    one_deployment.start("sweep-2", "worker", "sweep", "--name", "sweep-2")


def test_a_worker_that_is_frozen_past_its_lease_loses_the_session_and_writes_nothing_when_it_thaws(
    deployment: Deployment,
) -> None:
    script, marker = hanging_once(deployment)
    runner = start(deployment, "frozen", script)
    found = at_work(deployment, marker)
    deployment.has_step(runner, "first try")

    found.freeze()
    try:
        wait_for("the agent's end at its deadline", lambda: not processes_with(marker), GONE_WITHIN_SECONDS)
        session = assert_ran_again(deployment, runner)
    finally:
        found.thaw()

    wait_for("the end of the thawed process", lambda: not found.pool.is_running(), GONE_WITHIN_SECONDS)
    assert deployment.session(runner) == session, "the thawed worker changed something"


@ON_POSTGRES
def test_a_worker_that_dies_between_its_claim_and_its_first_heartbeat_loses_nothing(deployment: Deployment) -> None:
    for name in WORKERS:
        deployment.stop(name)
    deployment.start_worker("never-beats", HEARTBEAT_SECONDS="3600")
    mark = deployment.folder / f"mark-{uuid.uuid4().hex}"
    runner = start(deployment, "claimed", f"test -e {mark} || sleep 3600; echo second > a.txt; echo second try")
    wait_for("the claim", lambda: deployment.session(runner)["state"] == "RUNNING")

    deployment.kill("never-beats")

    mark.touch()
    for name in WORKERS:
        deployment.start_worker(name)
    session = deployment.ended(runner)
    assert (session["state"], session["attempt"]) == ("DONE", 2), session["failure"]
    assert any("This is attempt 2" in step["message"] for step in session["steps"])


@POSTGRES_ONLY
@needs_bubblewrap
@pytest.mark.parametrize("victim", ["worker", "pool"])
def test_nothing_in_a_sandbox_outlives_its_worker(one_deployment: Deployment, victim: str) -> None:
    deployment = one_deployment
    for name in WORKERS:
        deployment.stop(name)
    deployment.start_worker("walled", SANDBOX="bubblewrap")
    marker = seconds_to_sleep()
    stubborn = (
        f"trap '' TERM HUP; (setsid sh -c 'trap \"\" TERM; sleep {marker} & wait' &); echo first try; sleep {marker}"
    )
    script = f"if test $PWD = /workspace; then {stubborn}; else echo second > a.txt; echo second try; fi"
    runner = start(deployment, f"walled-{victim}", script)
    found = at_work(deployment, marker)
    deployment.has_step(runner, "first try")

    if victim == "pool":
        # It would run the session again itself, and it must not be needed for what follows.
        deployment.processes["walled"].send_signal(signal.SIGSTOP)
        found.pool.kill()
    else:
        deployment.kill("walled")
    wait_for("the end of every process", lambda: not processes_with(marker), GONE_WITHIN_SECONDS)

    if victim == "pool":
        deployment.kill("walled")
    for name in WORKERS:
        deployment.start_worker(name)
    assert_ran_again(deployment, runner)


@POSTGRES_ONLY
@pytest.mark.parametrize("victim", ["worker", "pool"])
def test_nothing_of_a_fetch_outlives_its_worker(one_deployment: Deployment, victim: str) -> None:
    deployment = one_deployment
    with being_fetched(deployment, f"fetched-{victim}-{uuid.uuid4().hex[:8]}") as runner:
        url = deployment.call("GET", f"/sites/{runner['site_id']}")["repo_url"]
        found = at_work(deployment, url)

        if victim == "worker":
            deployment.kill(found.worker)
        else:
            found.pool.kill()

        # Another attempt may fetch by then.
        wait_for("the end of git", lambda: not set(found.agents) & set(processes_with(url)), GONE_WITHIN_SECONDS)
    assert deployment.ended(runner)["failure"]["stage"] == "checkout"


@POSTGRES_ONLY
def test_a_worker_that_is_frozen_during_a_fetch_does_not_block_the_repository(one_deployment: Deployment) -> None:
    deployment, name = one_deployment, f"frozen-fetch-{uuid.uuid4().hex[:8]}"
    with being_fetched(deployment, name) as runner:
        site = f"/sites/{runner['site_id']}"
        found = at_work(deployment, deployment.call("GET", site)["repo_url"])
        found.freeze()
        try:
            answers = deployment.make_repository({"a.txt": "a\n"}, name)
            deployment.call("PATCH", site, json={"repo_url": str(answers)})
            session = deployment.ended(runner)
            assert (session["state"], session["attempt"]) == ("DONE", 2), session["failure"]
            assert found.pool.status() == psutil.STATUS_STOPPED
        finally:
            found.thaw()


@ON_POSTGRES
@pytest.mark.parametrize(("victim", "generations"), [("pool", 0), ("worker", 1)])
def test_a_session_that_kills_its_worker_each_time_fails_after_three_attempts_and_keeps_its_work(
    deployment: Deployment, victim: str, generations: int
) -> None:
    # The process of the pool is the one that reads what the script writes.
    to_pool = (
        "pipe=$(readlink /proc/$$/fd/1); p=$(find /proc/[0-9]*/fd -printf '%m %l %p\\n' 2> /dev/null "
        '| grep -F "500 $pipe" | cut -d/ -f3); test $p'
    )
    to_victim = "; ".join([to_pool, *["p=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$p/status)"] * generations])
    script = f"echo poisoned > a.txt; echo poison; sleep 0.5; {to_victim}; kill -9 $p; sleep 3600"
    poison = start(deployment, f"poison-{victim}", script)

    def final_while_the_dead_are_replaced() -> bool:
        for name in WORKERS:
            if deployment.processes[name].poll() is not None:
                deployment.start_worker(name)
        return deployment.session(poison)["state"] == "ERROR"

    wait_for("the end of the session", final_while_the_dead_are_replaced)

    session = deployment.session(poison)
    assert session["attempt"] == 3
    assert (session["failure"]["code"], session["failure"]["retryable"]) == ("worker_lost", True)
    session = wait_for("its work", lambda: with_work(deployment, poison))
    assert (session["state"], session["attempt"]) == ("ERROR", 3)
    assert "+poisoned" in deployment.diff(poison, session, "result")
    after = start(deployment, f"after-poison-{victim}", "echo fine > a.txt")
    assert deployment.ended(after)["state"] == "DONE", "the workers go on"


@ON_SQLITE
def test_a_rolling_restart_under_load_loses_nothing_and_counts_no_lost_worker(deployment: Deployment) -> None:
    repository = deployment.make_repository({"a.txt": "a\n"}, "rolling")
    site = deployment.make_site(repository, name="rolling")
    mark = deployment.folder / f"mark-{uuid.uuid4().hex}"
    held = f"until test -e {mark}; do sleep 0.4; done; "
    scripts = [f"{'' if number % 3 else held}echo {number} > a.txt" for number in range(12)]
    runners = [deployment.run(site, script) for script in scripts]
    wait_for("one to end", lambda: count(deployment, runners, "DONE"))
    wait_for("one to be held", lambda: count(deployment, runners[::3], "RUNNING"))

    for name in WORKERS:
        deployment.stop(name)
        deployment.start_worker(name)
    mark.touch()

    sessions = [deployment.ended(runner) for runner in runners]
    for number, (runner, session) in enumerate(zip(runners, sessions, strict=True)):
        assert session["state"] == "DONE", session["failure"]
        assert not any("was lost" in step["message"] for step in session["steps"]), session["steps"]
        assert f"+{number}\n" in deployment.diff(runner, session, "result")
    given_back = [session for session in sessions if session["attempt"] > 1]
    assert given_back, "no worker had to give a session back"
    assert all("requeued the session" in session["steps"][0]["message"] for session in given_back)


def time_of(session: dict[str, Any], what: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(session[what])


@SLOW
def test_at_real_settings_a_killed_worker_s_session_runs_again_within_45_seconds(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    real = {name: f"{getattr(Settings, name.lower()):g}" for name in REAL}
    with deployed(tmp_path_factory.mktemp("real"), "", free_port(), forked=True, AGENTS="shell", **real) as deployment:
        deployment.start_worker("sessions-2")
        script, marker = hanging_once(deployment)
        runner = start(deployment, "real", script)
        found = at_work(deployment, marker)
        first = deployment.has_step(runner, "first try")
        # From a message to the claim, which is quick but where the machine is not.
        usual = time_of(first, "started_at") - time_of(first, "created_at")

        killed_at = datetime.datetime.now(datetime.UTC)
        deployment.kill(found.worker)

        wait_for("the next attempt", lambda: deployment.session(runner)["attempt"] == 2)
        assert time_of(deployment.session(runner), "started_at") - killed_at < WITHIN + 10 * usual
        assert_ran_again(deployment, runner)
        invariants.check_all(deployment)
