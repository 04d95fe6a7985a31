"""One prompt on several agents, by one command."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app import db
from app.cli.errors import ExitStatus
from app.client import Client
from app.models.states import SessionState
from app.services.execution.outcomes import Failure
from tests.api.conftest import Worker
from tests.cli.remote.conftest import Run
from tests.cli.remote.test_running import CHANGE

pytestmark = pytest.mark.same_on_both_databases
EACH = ("--agent=claude:opus", "--agent=codex", "--agent=shell")
FAILED = {"state": SessionState.ERROR, "failure": Failure("agent_auth", "agent", False, "Set a valid key.")}
Play = Callable[[dict[str, dict[str, Any]]], None]


@pytest.fixture
def play(client: Client, worker: Worker) -> Iterator[Play]:
    """Play the worker of one session for each agent, which ends as the arguments say."""
    threads: list[threading.Thread] = []
    closing = threading.Event()

    def work(endings: dict[str, dict[str, Any]]) -> None:
        while endings and not closing.wait(0.02):
            for runner in client.runners(state="NEW"):
                # Whose turn it is decides the record.
                if claim := worker.find_claim(runner["latest_session_id"]):
                    session = client.get_session(str(claim.runner.id), str(claim.session.id))
                    ending = dict(endings.pop(session["agent_config"]["agent"]))
                    if successor := ending.pop("taken_over_by", None):
                        worker.hand_over(claim, successor)
                    worker.finish(claim, **ending)
        db.session.remove()

    def begin(endings: dict[str, dict[str, Any]]) -> None:
        threads.append(threading.Thread(target=work, args=(dict(endings),)))
        threads[-1].start()

    yield begin
    closing.set()
    for thread in threads:
        thread.join()


def test_each_agent_works_on_the_prompt_in_a_runner_of_its_own(
    run: Run, client: Client, site: dict[str, Any], play: Play
) -> None:
    play(
        {
            "claude": {"diff": CHANGE, "result": "It is b."},
            "codex": {"result": "It is b already.", "taken_over_by": "gemini"},
            "shell": FAILED,
        }
    )
    done = run("run", "Make it b", "--site", "shop", *EACH)
    assert done.status == ExitStatus.ERROR, done.stderr
    assert "running claude:opus ..." in done.stderr and "running shell ..." in done.stderr
    assert "It is b." in done.stdout and "It is b already." in done.stdout and "Set a valid key." in done.stdout
    rows = [line.split("\t") for line in done.stdout.splitlines()[-3:]]
    assert [row[:5] for row in rows] == [
        ["claude:opus", "DONE", "1", "+1", "-1"],
        ["codex, then gemini", "DONE", "0", "+0", "-0"],
        ["shell", "agent_auth", "0", "+0", "-0"],
    ]
    runners = {runner["id"][-8:]: runner for runner in client.runners()}
    assert set(runners) == {row[7] for row in rows}
    claude = runners[rows[0][7]]
    assert client.sessions(claude["id"])[0]["agent_config"]["model"] == "opus"
    assert {runner["title"] for runner in runners.values()} == {"Make it b"}


def test_a_script_gets_the_sessions_in_the_order_of_the_agents(run: Run, site: dict[str, Any], play: Play) -> None:
    play({agent: {"result": agent} for agent in ("claude", "codex", "shell")})
    done = run("run", "-", "--site", "shop", "--json", *EACH, stdin="Make it b")
    assert done.status == 0
    sessions = json.loads(done.stdout)
    assert [session["result"] for session in sessions] == ["claude", "codex", "shell"]
    assert {session["prompt"] for session in sessions} == {"Make it b"}


def test_without_waiting_their_ids_are_printed(run: Run, client: Client, site: dict[str, Any]) -> None:
    done = run("run", "Make it b", "--site", "shop", "--detach", *EACH)
    assert done.status == 0
    assert set(done.stdout.split()) == {runner["id"] for runner in client.runners()}
    assert len(done.stdout.split()) == 3


def test_an_agent_that_is_refused_does_not_keep_the_others_from_working(
    run: Run, client: Client, site: dict[str, Any]
) -> None:
    done = run("run", "Make it b", "--site", "shop", "--detach", "--agent=codex", "--agent=nobody")
    assert done.status == ExitStatus.ERROR
    assert "Not started with nobody: " in done.stderr
    assert done.stdout.split() == [runner["id"] for runner in client.runners()]


def test_a_prompt_that_is_refused_for_each_is_an_error(run: Run, client: Client, site: dict[str, Any]) -> None:
    done = run("run", "Make it b", "--site", "shop", "--agent=nobody", "--agent=no-one")
    assert done.status == ExitStatus.ERROR
    assert client.runners() == []


def test_the_changes_of_several_are_not_applied(run: Run, client: Client, site: dict[str, Any]) -> None:
    done = run("run", "Make it b", "--site", "shop", "--apply", *EACH)
    assert done.status == ExitStatus.USAGE
    assert "agent-runners diff RUNNER --apply" in done.stderr
    assert client.runners() == []


def test_a_follow_up_may_name_an_agent_with_a_model(run: Run, client: Client, site: dict[str, Any], play: Play) -> None:
    play({"shell": {"result": "Looked."}})
    run("run", "Look", "--site", "shop", "--agent=shell", "--wait")
    (runner,) = client.runners()
    assert run("say", "And now?", runner["id"], "--agent=claude:opus", "--detach").status == 0
    latest = client.sessions(runner["id"])[-1]["agent_config"]
    assert (latest["agent"], latest["model"]) == ("claude", "opus")
