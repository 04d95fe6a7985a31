"""The hosts that the commands of an attempt may reach."""

from __future__ import annotations

from collections.abc import Sequence

from workers.agents.base import Agent
from workers.egress.gateway.providers import host_of
from workers.egress.rules import Rule
from workers.errors import Stage
from workers.job import Host, Job


def network_rules(job: Job, host: Host, agents: Sequence[Agent]) -> dict[Stage, list[Rule]]:
    """The hosts that each stage may reach. Hosts set by the operator may be private. Those set by a site must be public,
    unless the operator allows private addresses."""
    site = [Rule.parse(text, private=host.allow_private_addresses) for text in job.egress_hosts]
    site += [Rule.parse(text, private=True) for text in host.egress_hosts]
    # The gateway reaches the hosts of its providers, so the agent need not.
    named = {name for agent in agents for name in agent.model_hosts}
    own = sorted(named - {each.host for agent in agents for each in agent.providers})
    servers = sorted({host_of(each.url) for each in job.mcp_servers if each.url and not each.credential})
    tools = [Rule.parse(text, private=host.allow_private_addresses) for text in servers]
    return {"setup": site, "agent": [*site, *tools, *(Rule.parse(text, private=True) for text in own)]}
