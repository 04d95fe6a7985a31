"""Agents: a port (`base`) and the adapters that are known by name."""

from __future__ import annotations

from workers.agents.base import Agent
from workers.agents.claude import ClaudeAgent
from workers.agents.codex import CodexAgent
from workers.agents.scripted import ScriptedAgent
from workers.agents.shell import ShellAgent
from workers.errors import EngineError
from workers.job import Job

__all__ = ["AGENTS", "Agent", "find_missing", "open_agent"]

AGENTS: dict[str, type[Agent]] = {each.name: each for each in (ClaudeAgent, CodexAgent, ScriptedAgent, ShellAgent)}


def open_agent(job: Job) -> Agent:
    """The agent that `job` asks for. Raises EngineError `agent_unknown` or `agent_not_installed`."""
    if job.agent not in AGENTS:
        raise EngineError("agent_unknown", "agent", _unknown(job.agent))
    return AGENTS[job.agent](job)


def find_missing(name: str) -> str | None:
    """What this machine lacks to run the agent `name`, and how to get it; None where nothing is missing."""
    return AGENTS[name].find_missing() if name in AGENTS else _unknown(name)


def _unknown(name: str) -> str:
    return f"There is no agent named {name!r}. Known are: {', '.join(AGENTS)}."
