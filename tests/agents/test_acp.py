"""Agents that speak the Agent Client Protocol, by the command that an operator names."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from tests.agents.real import EDIT, EVERY_AGENT, SANDBOXED, Real
from tests.agents.test_real_clis import CHANGE, NOTE
from tests.model_servers import directive
from tests.model_servers.script import FINAL
from tests.workers.attempts import Attempt, code
from tests.workers.engine import eventually, linux
from workers.agents.programs import own_folder
from workers.job import Limits

_CONFIGURED = {
    "model": "configured/scripted",
    "permission": "allow",
    "provider": {
        "configured": {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": "{env:OPENAI_BASE_URL}", "apiKey": "{env:OPENAI_API_KEY}"},
            "models": {"scripted": {"name": "Scripted"}},
        }
    },
}
# As an operator would name them, with the variables that they need.
COMMANDS = {
    "copilot": ("--acp", "--model=scripted"),
    "gemini": ("--acp", "--skip-trust", "--model=gemini-2.5-flash"),
    "opencode": ("acp",),
    "qwen": ("--acp", "--auth-type=openai", "--model=scripted"),
}
VARIABLES = {
    "copilot": {"COPILOT_OFFLINE": "true"},
    "opencode": {"OPENCODE_CONFIG_CONTENT": json.dumps(_CONFIGURED)},
}


def run(real: Real, *script: str, **more: object) -> Attempt:
    """Run the program of an agent as one that the operator has named."""
    installed = own_folder(real.agent) / "node_modules" / ".bin" / real.agent
    command = (shutil.which(real.agent) or str(installed), *COMMANDS[real.agent])
    real.engine.host = dataclasses.replace(real.engine.host, acp_agents=(("mine", command),))
    job = real.job(*script, **more)
    environment = {**job.environment, **VARIABLES.get(real.agent, {})}
    return real.engine.finish(dataclasses.replace(job, agent="mine", model=None, environment=environment))


@pytest.mark.parametrize("real", [each for each in EVERY_AGENT if each.id in COMMANDS], indirect=True)
def test_an_agent_that_speaks_acp_edits_and_runs_commands(real: Real) -> None:
    attempt = run(real, *EDIT, NOTE, directive("run", "pwd > where.txt"))
    assert attempt.outcome.failure is None
    assert CHANGE in real.engine.diff and "+kept" in real.engine.diff and "+/workspace" in real.engine.diff
    assert attempt.outcome.result == FINAL and FINAL in attempt.steps
    assert any("calc.py" in step for step in attempt.steps)


@pytest.mark.parametrize("real", [each for each in SANDBOXED if each.id in COMMANDS], indirect=True)
def test_a_wrong_key_is_reported(real: Real) -> None:
    attempt = run(real, *EDIT, variables=real.model.environment("sk-wrong-9876543210"))
    assert code(attempt.outcome) == ("agent_auth", "agent")
    assert "sk-wrong" not in attempt.text


@pytest.mark.parametrize("real", [each for each in SANDBOXED if each.id in COMMANDS], indirect=True)
def test_an_answer_that_breaks_off_is_a_failure_and_keeps_the_work(real: Real) -> None:
    attempt = run(real, NOTE, directive("end"))
    # Gemini takes the beginning of an answer for all of it. The others call again.
    expected = "agent_failed" if real.agent == "gemini" else "model_unavailable"
    assert code(attempt.outcome) == (expected, "agent") and "broke off" in str(attempt.outcome.failure)
    assert "+kept" in real.engine.diff


@linux
@pytest.mark.parametrize("real", [each for each in SANDBOXED if each.id in COMMANDS], indirect=True)
def test_a_model_that_falls_silent_stalls_the_agent(real: Real) -> None:
    attempt = run(real, NOTE, directive("hang"), limits=Limits(stall_seconds=60))
    assert code(attempt.outcome) == ("stalled", "agent")
    assert "+kept" in real.engine.diff
    eventually(lambda: not real.processes(), "the agent survived")
