"""The supported agents: those of this package, those that other packages add, and those that the operator configures.

Another package adds an agent by an entry point of the group `agent_runners.agents`: its name is that of the agent, its
object the class.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import logging
from collections.abc import Mapping

from workers.agents.acp import acp_agent
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
from workers.job import AcpAgents, Job

GROUP = "agent_runners.agents"
_BUNDLED = (
    *(ClaudeAgent, CodexAgent, CopilotAgent, GeminiAgent, MiniSweAgent, OpencodeAgent, QwenAgent),
    *(ScriptedAgent, ShellAgent),
)
AGENTS: dict[str, type[Agent]] = {each.name: each for each in _BUNDLED}
log = logging.getLogger(__name__)


@functools.cache
def added_agents() -> tuple[dict[str, type[Agent]], dict[str, str]]:
    """The agents that other packages add, and what is wrong with those that cannot be used, both by name.

    They are loaded when they are first needed: they are code of others, which may be slow or fail.
    """
    added: dict[str, type[Agent]] = {}
    broken: dict[str, str] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else "a package"
        try:
            added[entry.name] = _checked(entry.name, entry.load())
        except Exception as error:
            broken[entry.name] = f"The agent {entry.name!r} of {package} cannot be used: {error}"
            log.warning("%s", broken[entry.name])
    return added, broken


def open_agent(job: Job, configured: AcpAgents = ()) -> Agent:
    """The agent that `job` asks for. `configured` are the operator's own, which speak ACP.

    Raises EngineError `agent_unknown` or `agent_not_installed`.
    """
    agent = find_agent(job.agent, configured)
    if agent is None:
        raise EngineError("agent_unknown", "agent", _unknown(job.agent, configured))
    return agent(dataclasses.replace(job, environment=_own(job.environment, agent)))


def find_missing(name: str, configured: AcpAgents = ()) -> str | None:
    """What is missing on this host to run the agent `name`, and how to install it. None if nothing is missing."""
    agent = find_agent(name, configured)
    return agent.find_missing() if agent else _unknown(name, configured)


def key_of(name: str) -> str | None:
    """The variable with the key of an agent, if it needs one that is known."""
    agent = find_agent(name, ())
    return agent.key if agent else None


def find_version(name: str, configured: AcpAgents = ()) -> str | None:
    """The version of an agent's program on this host, where that is known."""
    agent = find_agent(name, configured)
    return agent.find_version() if agent else None


def find_agent(name: str, configured: AcpAgents) -> type[Agent] | None:
    """The adapter of the agent `name`. None if there is no such agent."""
    if name in AGENTS:
        return AGENTS[name]
    if command := dict(configured).get(name):
        return acp_agent(name, command)
    return added_agents()[0].get(name)


def _checked(name: str, found: object) -> type[Agent]:
    if not (isinstance(found, type) and issubclass(found, Agent)):
        raise TypeError("it is not a subclass of workers.agents.base.Agent")
    if name in AGENTS or name != getattr(found, "name", None):
        raise ValueError("its name must be that of its entry point, and not that of another agent")
    if found.provider and not found.provider[0].endswith("_BASE_URL"):
        # Only the operator may set such variables: `app/services/variables/names.py`.
        raise ValueError("the variable with the URL of its provider must have a name that ends in _BASE_URL")
    return found


def _own(environment: Mapping[str, str], agent: type[Agent]) -> dict[str, str]:
    """The variables for `agent`, and those that are not for some agents only."""
    known = [*AGENTS.values(), *added_agents()[0].values()]
    others = tuple(prefix for each in known if each is not agent for prefix in each.variables)
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(agent.variables) or not name.startswith(others)
    }


def _unknown(name: str, configured: AcpAgents) -> str:
    added, broken = added_agents()
    known = ", ".join([*AGENTS, *added, *dict(configured)])
    return broken.get(name) or f"There is no agent named {name!r}. Use one of: {known}."
