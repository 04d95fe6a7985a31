"""The calls of an attempt's agents to their models: one gateway makes and counts those of all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from workers.agents.base import Agent
from workers.egress.gateway.process import Gateway, open_gateway
from workers.egress.gateway.providers import host_of
from workers.job import Host
from workers.limits.budget import Budget
from workers.limits.prices import Prices
from workers.limits.spending import Spending


@dataclasses.dataclass(frozen=True)
class ModelCalls:
    """A running gateway, what it has counted, and the hosts that it reaches."""

    gateway: Gateway
    spending: Spending
    hosts: Sequence[str]

    def point(self, agent: Agent) -> None:
        """Point an agent at the gateway: it has the keys, and the agent a token in their place."""
        own = {name for each in agent.providers for name in (each.variable, *each.keys)}
        own |= {name for each in agent.job.bound_secrets for name in (each.name, f"{each.name}_URL")}
        pointed = {name: value for name, value in self.gateway.variables.items() if name in own}
        agent.job = dataclasses.replace(agent.job, environment={**agent.job.environment, **pointed})


def open_model_calls(host: Host, agents: Sequence[Agent], budget: Budget) -> ModelCalls | None:
    """Start a gateway to the providers of `agents`, and to the hosts of the job's bound secrets, and point the agents at it.
    None if there is nothing that it could serve."""
    providers = {each.variable: each for agent in agents for each in agent.providers}
    bound = agents[0].job.bound_secrets
    if not providers and not bound:
        return None
    gateway = open_gateway(host, list(providers.values()), bound)
    keys = ", ".join(sorted({name for each in providers.values() for name in each.keys}))
    spending = Spending(budget, Prices(host.prices_file), keys, host.model_patience_seconds)
    gateway.start(spending.count)
    calls = ModelCalls(
        gateway, spending, sorted({*(each.host for each in providers.values()), *(host_of(each.url) for each in bound)})
    )
    for agent in agents:
        calls.point(agent)
    return calls
