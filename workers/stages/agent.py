"""Running the agent itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from workers.agents.base import Agent, parsing_output
from workers.interruption import Interruption
from workers.job import Event, Step, Usage
from workers.limits.budget import Budget
from workers.processes.lines import Line
from workers.sandbox import Sandbox
from workers.stages.commands import Commands, Events


def run_agent(
    agent: Agent,
    sandbox: Sandbox,
    commands: Commands,
    interruption: Interruption,
    budget: Budget,
    attachments: Sequence[str],
) -> Events:
    """Run `agent` to its end. `attachments` are the names of the attached files.

    Raises EngineError if a limit was exceeded, or if `agent.verdict` reports a failure.
    """

    def report(line: Line | None, ended: bool) -> Iterable[Event]:
        with parsing_output():
            for event in agent.parse(line) if line else agent.tick(ended=ended):
                yield dataclasses.replace(event, of_agent=True) if isinstance(event, Step) else event
                if isinstance(event, Usage):
                    yield from budget.spend(event, "agent", is_done=agent.finished)

    environment = {**agent.job.environment, **agent.environment(sandbox.place)}
    launch = sandbox.launch(agent.command(sandbox.place), environment, agent.runtime_paths)
    stdin = agent.stdin(sandbox.place, attachments)
    status = yield from commands.run(launch, "agent", report, interruption, stdin=stdin, merged=agent.merged)
    with parsing_output():
        failure = agent.verdict(status)
    if failure:
        raise failure
