"""Workers that are killed, frozen or ended: the session runs again elsewhere, once, and says so."""

from __future__ import annotations

import uuid
from typing import Any

from tests.deployment import Deployment, processes_with, wait_for
from tests.faults.agents import at_work


def hanging_once(deployment: Deployment) -> tuple[str, str]:
    """A script whose first run writes and then hangs, while later ones end; and what marks the agent that hangs."""
    mark = deployment.folder / f"mark-{uuid.uuid4().hex}"
    seconds = f"9{uuid.uuid4().int % 10**12}"
    hangs = f"touch {mark}; echo lost > a.txt; echo first try; sleep {seconds}"
    return f"if test -e {mark}; then echo second > a.txt; echo second try; else {hangs}; fi", seconds


def start(deployment: Deployment, name: str, prompt: str) -> dict[str, Any]:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, name), name=name)
    return deployment.run(site, prompt)


def assert_ran_again(deployment: Deployment, runner: dict[str, Any]) -> dict[str, Any]:
    """The second attempt won and says which it is; the first one's steps are on record and not shown."""
    session = deployment.ended(runner)
    assert (session["state"], session["attempt"]) == ("DONE", 2), session["failure"]
    shown = [f"{step['title']} {step['message']}" for step in session["steps"]]
    assert any("This is attempt 2" in text for text in shown), shown
    assert any("second try" in text for text in shown) and not any("first try" in text for text in shown), shown
    assert "+second" in deployment.diff(runner, session, "result")
    path = f"/agent_runners/{runner['id']}/sessions/{session['id']}/events"
    assert "first try" in deployment.call("GET", path), "the lost attempt's steps stay on record"
    return session


def test_a_worker_that_is_killed_leaves_no_agent_and_the_session_runs_again(deployment: Deployment) -> None:
    script, marker = hanging_once(deployment)
    runner = start(deployment, "killed", script)
    found = at_work(deployment, marker)
    deployment.has_step(runner, "first try")

    deployment.kill(found.worker)

    wait_for("the end of the agent", lambda: not processes_with(marker), seconds=6)
    wait_for("the end of the pool", lambda: not found.pool.is_running(), seconds=6)
    assert_ran_again(deployment, runner)


def test_a_process_of_the_pool_that_is_killed_leaves_no_agent_and_a_worker_that_goes_on(
    deployment: Deployment,
) -> None:
    script, marker = hanging_once(deployment)
    runner = start(deployment, "pool-killed", script)
    found = at_work(deployment, marker)
    deployment.has_step(runner, "first try")

    found.pool.kill()

    wait_for("the end of the agent", lambda: not processes_with(marker), seconds=6)
    assert_ran_again(deployment, runner)
    assert deployment.processes[found.worker].poll() is None


def test_a_worker_that_is_frozen_past_its_lease_loses_the_session_and_writes_nothing_when_it_thaws(
    deployment: Deployment,
) -> None:
    script, marker = hanging_once(deployment)
    runner = start(deployment, "frozen", script)
    found = at_work(deployment, marker)
    deployment.has_step(runner, "first try")

    found.freeze()
    try:
        wait_for("the agent's end at its deadline", lambda: not processes_with(marker), seconds=15)
        session = assert_ran_again(deployment, runner)
    finally:
        found.thaw()

    wait_for("the end of the thawed process", lambda: not found.pool.is_running(), seconds=30)
    assert deployment.session(runner) == session, "the thawed worker changed something"
