"""Reports which agents this host can run, for callers who ask with `GET /agents`."""

from __future__ import annotations

import platform

from app import db
from app.config import acp_agents, agent_environment, settings
from app.services import agents
from tasks.jobs.host import this_host
from workers.agents.registry import find_missing, find_version, key_of
from workers.sandbox import probe


def report_agents() -> None:
    """Record what is found on this host. Raises an error of SQLAlchemy, for example if the database is unavailable."""
    found = [_find_sandbox(), *map(_find, dict.fromkeys(settings().agents))]
    with db.transaction():
        agents.report(platform.node(), found)


def _find_sandbox() -> agents.Found:
    finding = probe(this_host())
    return agents.Found(
        agents.SANDBOX, None if finding.ok else f"{finding.reason} {finding.remedy}", settings().sandbox, None
    )


def _find(name: str) -> agents.Found:
    configured = acp_agents(settings())
    key = key_of(name)
    has_key = key in agent_environment(settings()) if key else None
    return agents.Found(name, find_missing(name, configured), find_version(name, configured), has_key)
