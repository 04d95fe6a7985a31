"""The supported agents. To add one, write a module in this package and name its class in `AGENTS`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from workers.agents.base import Agent
from workers.agents.claude import ClaudeAgent
from workers.agents.codex import CodexAgent
from workers.agents.copilot import CopilotAgent
from workers.agents.gemini import GeminiAgent
from workers.agents.mini_swe_agent import MiniSweAgent
from workers.agents.opencode import OpencodeAgent
from workers.agents.qwen import QwenAgent
from workers.agents.scripted import ScriptedAgent
from workers.agents.shell import ShellAgent
from workers.errors import EngineError
from workers.job import Job

_BUNDLED = (
    *(ClaudeAgent, CodexAgent, CopilotAgent, GeminiAgent, MiniSweAgent, OpencodeAgent, QwenAgent),
    *(ScriptedAgent, ShellAgent),
)
AGENTS: dict[str, type[Agent]] = {each.name: each for each in _BUNDLED}


def open_agent(job: Job) -> Agent:
    """The agent that `job` asks for. Raises EngineError `agent_unknown` or `agent_not_installed`."""
    if job.agent not in AGENTS:
        raise EngineError("agent_unknown", "agent", _unknown(job.agent))
    agent = AGENTS[job.agent]
    return agent(dataclasses.replace(job, environment=_own(job.environment, agent)))


def find_missing(name: str) -> str | None:
    """What is missing on this host to run the agent `name`, and how to install it. None if nothing is missing."""
    return AGENTS[name].find_missing() if name in AGENTS else _unknown(name)


def _own(environment: Mapping[str, str], agent: type[Agent]) -> dict[str, str]:
    """The variables for `agent`, and those that are not for one agent only."""
    others = tuple(prefix for each in AGENTS.values() if each is not agent for prefix in each.variables)
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(agent.variables) or not name.startswith(others)
    }


def _unknown(name: str) -> str:
    return f"There is no agent named {name!r}. Use one of: {', '.join(AGENTS)}."
