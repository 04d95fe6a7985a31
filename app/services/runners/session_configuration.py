"""The configuration of a session: its agent, model, effort and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.config import settings
from app.errors import invalid
from app.models import AgentRunnerSession, Site
from app.models.limits import LIMIT_NAMES
from app.services.runners.creation import NewSession
from app.services.sites import ceilings

# These agents run the prompt as a script. Plain language could do damage there, so they are never the default.
RUN_SCRIPTS = frozenset({"shell", "scripted"})


@dataclass(frozen=True)
class Configuration:
    agent: str
    model: str | None
    effort: str | None
    limits: dict[str, Any]


def choose(site: Site, asked: NewSession, before: AgentRunnerSession | None = None) -> Configuration:
    """The configuration of a session: what the caller requests, else that of the session `before`, else the defaults.

    Model and effort belong to an agent, so they are not carried over to another agent.
    """
    agent = _agent(site, asked.agent, before)
    same = before if before is not None and before.agent == agent else None
    limits = {name: number for name, number in (asked.limits or {}).items() if number is not None}
    ceilings.check(limits, "limits.")
    return Configuration(
        agent=agent,
        model=asked.model or (same.model if same else None) or site.default_model,
        effort=asked.effort or (same.effort if same else None),
        limits=_limits(site, {**(before.limits if before else {}), **limits}),
    )


def _agent(site: Site, asked: str | None, before: AgentRunnerSession | None) -> str:
    known = settings().agents
    agent = asked or (before.agent if before else None) or site.default_agent
    if agent is None:
        agent = next((name for name in known if name not in RUN_SCRIPTS), None)
    if agent is None:
        message = f"is required: this site has no default_agent. Name one of {', '.join(known)}, here or on the site"
        raise invalid("agent", message, error_code="no_default_agent")
    if agent not in known:
        message = f"'{agent}' is not available on this deployment; name one of {', '.join(known)}"
        raise invalid("agent", message, error_code="unknown_agent")
    return agent


def _limits(site: Site, asked: dict[str, Any]) -> dict[str, Any]:
    """The limits of a session: what was requested, capped by the site or else by the deployment, and by its ceilings."""
    return {name: _lowest(asked.get(name), _cap(site, name), ceilings.ceiling(name)) for name in LIMIT_NAMES}


def _cap(site: Site, name: str) -> float | None:
    cap: float | None = getattr(site, name, None)
    return getattr(settings(), name, None) if cap is None else cap


def _lowest(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)
