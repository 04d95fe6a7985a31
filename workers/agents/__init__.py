"""Agents: a port (`base`) and the adapters that are known by name."""

from __future__ import annotations

from workers.agents.base import Agent
from workers.agents.claude import ClaudeAgent
from workers.agents.codex import CodexAgent
from workers.agents.scripted import ScriptedAgent
from workers.agents.shell import ShellAgent
from workers.errors import EngineError
from workers.job import Job

__all__ = ["AGENTS", "Agent", "open_agent"]

AGENTS: dict[str, type[Agent]] = {each.name: each for each in (ClaudeAgent, CodexAgent, ScriptedAgent, ShellAgent)}


def open_agent(job: Job) -> Agent:
    """The agent that `job` asks for. Raises EngineError `agent_unknown`, `agent_not_installed` or `agent_auth`."""
    if job.agent not in AGENTS:
        message = f"There is no agent named {job.agent!r}. Known are: {', '.join(AGENTS)}."
        raise EngineError("agent_unknown", "agent", message)
    return AGENTS[job.agent](job)
