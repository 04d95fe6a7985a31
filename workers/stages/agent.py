"""Running the agent itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from workers.agents.base import Agent, parsing_output
from workers.events import Event, Step, Usage
from workers.limits.budget import Budget
from workers.limits.spending import Spending
from workers.processes.lines import Line
from workers.sandbox import Sandbox
from workers.stages.commands import Commands, Events
from workers.stages.interruption import Interruption


def run_agent(
    agent: Agent,
    sandbox: Sandbox,
    commands: Commands,
    interruption: Interruption,
    budget: Budget,
    attachments: Sequence[str],
    spending: Spending | None,
) -> Events:
    """Run `agent` to its end. `attachments` are the names of the attached files. `spending` is what its gateway counts.

    Raises BudgetNearlyUsed if it is to leave a summary, and EngineError if a limit was exceeded, or if `agent.verdict` reports a failure.
    """
    known: Usage | None = None
    if spending:
        spending.begin()

    def report(line: Line | None, ended: bool) -> Iterable[Event]:
        if spending:
            # The gateway knows what became of a call before the agent does.
            yield from spending.steps()
        with parsing_output():
            for event in agent.parse(line) if line else agent.tick(ended=ended):
                if isinstance(event, Usage):
                    yield from spend(event)
                elif isinstance(event, Step):
                    agent.did.append(event.title)
                    yield dataclasses.replace(event, of_agent=True)
                else:
                    yield event
        if spending:
            if spending.news():
                yield from spend(agent.usage)
            if not agent.finished:
                spending.check_provider()

    def spend(reported: Usage | None) -> Iterable[Event]:
        nonlocal known
        usage = spending.usage(reported) if spending else reported
        if usage and usage != known:
            known = usage
            yield budget.total(usage)
            charged = spending.charged(usage) if spending else usage
            may_wrap_up = agent.converses and not agent.finished
            yield from budget.spend(charged, "agent", is_done=agent.finished, may_wrap_up=may_wrap_up)

    environment = {**agent.job.environment, **agent.environment(sandbox.place)}
    launch = sandbox.launch(agent.command(sandbox.place), environment, agent.runtime_paths)
    stdin = agent.stdin(sandbox.place, attachments)
    status = yield from commands.run(launch, "agent", report, interruption, stdin=stdin, merged=agent.merged)
    with parsing_output():
        failure = agent.verdict(status)
    if spending:
        failure = spending.explain(failure)
    if failure:
        raise failure
