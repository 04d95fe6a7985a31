"""From a prompt to a diff with the agents' real programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agents.real import REAL_AGENTS
from tests.deployment import Deployment
from tests.e2e.conftest import DATABASES
from tests.model_servers import KEY, ModelServer, directive, model_server
from tests.model_servers.script import FINAL
from tests.workers.engine import needs_bubblewrap

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
