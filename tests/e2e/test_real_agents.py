"""From a prompt to a diff with the agents' real programs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.real import REAL_AGENTS, needs
from tests.deployment import Deployment, git
from tests.e2e.conftest import DATABASES
from tests.model_servers import KEY, ModelServer, directive, model_server
from tests.model_servers.script import FINAL
from tests.workers.engine import needs_bubblewrap
from workers.agents.registry import AGENTS
from workers.agents.stream import StreamAgent

sqlite_only = pytest.mark.parametrize("deployment", DATABASES[:1], indirect=True)


@pytest.fixture
def model(deployment: Deployment) -> Iterator[ModelServer]:
    """The deployment's worker as one that has keys of models, and a sandbox from which only these are reached."""
    before = deployment.variables
    deployment.settings["SANDBOX"] = "bubblewrap"
    with model_server() as running:
        deployment.stop("sessions-1")
        deployment.variables = before | running.environment()
        deployment.start_worker("sessions-1")
        yield running
        deployment.stop("sessions-1")
        deployment.variables, deployment.settings["SANDBOX"] = before, "none"
        deployment.start_worker("sessions-1")


@sqlite_only
@needs_bubblewrap
@pytest.mark.parametrize("agent", REAL_AGENTS)
def test_a_prompt_for_a_real_agent_becomes_a_diff(deployment: Deployment, model: ModelServer, agent: str) -> None:
    site = deployment.make_site(deployment.make_repository({"calc.py": "a - b\n"}, f"real-{agent}"))
    prompt = "\n".join(
        (
            "Mend the calculator.",
            directive("read", "calc.py"),
            directive("edit", "calc.py", "a - b", "a + b"),
        )
    )
    session = deployment.ended(runner := deployment.run(site, prompt, agent=agent))

    assert session["state"] == "DONE", session["failure"]
    assert session["result"] == FINAL
    assert "Sandbox: bubblewrap" in [step["title"] for step in session["steps"]]
    assert not any("refused" in step["title"] for step in session["steps"])
    assert session["usage"]["tool_calls"] == 2
    assert any("calc.py" in step["title"] for step in session["steps"])
    assert "-a - b\n+a + b\n" in deployment.diff(runner, session, "result")
    assert {request.key for request in model.requests} == {KEY}
    assert KEY not in str(session) + deployment.log("sessions-1")


@sqlite_only
@pytest.mark.parametrize("agent", [pytest.param("claude", marks=needs("claude"))])
def test_a_real_agent_hands_work_over_and_applies_the_change(
    deployment: Deployment, mcp_url: str, tmp_path: Path, agent: str
) -> None:
    repository = deployment.make_repository({"calc.py": "a - b\n"}, "handed-by-claude")
    site = deployment.make_site(repository, name="calculator")
    git(tmp_path, "clone", "--quiet", str(repository), "checkout")
    adapter = AGENTS[agent]
    assert issubclass(adapter, StreamAgent)
    installed = adapter.find()
    assert installed
    server = {"type": "http", "url": mcp_url, "headers": {"Authorization": deployment.api.headers["Authorization"]}}
    task = {"site": "calculator", "prompt": "echo 'a + b' > calc.py", "agent": "shell", "wait_seconds": 50}
    prompt = "\n".join(
        (
            "Have the calculator mended, and apply the change.",
            directive("call", "mcp__agent-runners__start_run", task),
            directive("call", "mcp__agent-runners__get_diff", {"run": r"<<Run (\S+)>>"}),
            directive("write", "change.patch", r"<<files in all\.\n(.*)>>"),
            directive("run", "git apply change.patch"),
        )
    )
    command = [*installed.command, "-p", "--permission-mode=bypassPermissions", "--strict-mcp-config"]
    configuration = json.dumps({"mcpServers": {"agent-runners": server}})
    with model_server() as model:
        done = subprocess.run(
            [*command, f"--mcp-config={configuration}", prompt],
            cwd=tmp_path / "checkout",
            env={**os.environ, **model.environment(), "HOME": str(tmp_path), "IS_SANDBOX": "1"},
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert done.returncode == 0 and FINAL in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "checkout" / "calc.py").read_text() == "a + b\n"
    [runner] = deployment.call("GET", "/agent_runners", params={"site_id": site["id"]})
    assert runner["state"] == "DONE"
