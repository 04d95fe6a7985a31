"""The agents of a session: where the provider of one accepts no more calls, the next takes over the work so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from workers.agents.base import Agent
from workers.agents.registry import open_agent
from workers.errors import EngineError
from workers.events import Step, Takeover
from workers.job import Host, Job
from workers.redaction import Redactor
from workers.sandbox import Directories, Sandbox
from workers.stages.commands import Events
from workers.workspace.inputs import renew_home

NO_MORE_CALLS = ("quota", "agent_rate_limited", "model_unavailable")
"""The failures that say that the provider of a model accepts no calls for now."""


class Succession:
    """The agent of a job and its fallbacks, in their order."""

    def __init__(self, job: Job, host: Host) -> None:
        """Raises EngineError if the job's own agent cannot run. A fallback that cannot is left out, with a step."""
        self.agents = [open_agent(job, host.acp_agents)]
        self.steps: list[Step] = []
        for each in job.fallbacks:
            try:
                self.agents.append(
                    open_agent(
                        dataclasses.replace(job, agent=each.agent, model=each.model, effort=None), host.acp_agents
                    )
                )
            except EngineError as failure:
                self.steps.append(Step(f"{each.agent} cannot take over", failure.message))

    def run(
        self, run_one: Callable[[Agent], Events], directories: Directories, sandbox: Sandbox, redactor: Redactor
    ) -> Events:
        """Run the agent with `run_one`, and those that take over from it. Raises the failure of the last one."""
        agent: Agent | None = self.agents[0]
        resets: list[float] = []
        while agent is not None:
            try:
                yield from run_one(agent)
                return
            except EngineError as failure:
                successor = self._next_after(agent, failure)
                if failure.code in NO_MORE_CALLS and failure.retry_at is not None:
                    resets.append(failure.retry_at)
                    # The first agent that can continue does.
                    failure.retry_at = min(resets)
                if successor is None:
                    raise
                title = f"{successor.name} takes over from {agent.name}"
                yield redactor.step(Step(title, failure.message))
                yield Takeover(successor.name, successor.job.model)
                self._hand_over(agent, successor, directories, sandbox)
                agent = successor

    def _next_after(self, agent: Agent, failure: EngineError) -> Agent | None:
        """Who takes over from `agent`, which ended with `failure`. None if no one does."""
        if failure.code not in NO_MORE_CALLS or agent.name not in (names := [each.name for each in self.agents[:-1]]):
            return None
        return self.agents[names.index(agent.name) + 1]

    def _hand_over(self, agent: Agent, successor: Agent, directories: Directories, sandbox: Sandbox) -> None:
        """Prepare `successor` to continue. No process of `agent` may be running."""
        if successor.converses:
            earlier = successor.job.conversation.words() if successor.job.conversation else ""
            did = "".join(f"- {title}\n" for title in agent.did)
            successor.hand_over(
                f"{earlier}Another agent, {agent.name}, began the task below and had to stop, because its model takes no "
                f"more calls. Its changes are in the files: look at them first, and continue from there. The last that it "
                f"did:\n{did}\n"
            )
        renew_home(directories, successor.files(sandbox.place), sandbox)
