"""The trailers of a commit that name who made it, beside its author: agents, and people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from app.escaping import one_line
from app.models import AgentRunnerSession, Site, User
from tasks.jobs.people import People


def trailers(sessions: Iterable[AgentRunnerSession], author: User, people: People) -> str:
    """A line for each agent, each other user who wrote a prompt, and each person on the forge who asked for a session."""
    named: dict[str, None] = {}
    for session in sessions:
        if session.user_id != author.id:
            person = people.author(session.user)
            named.setdefault(_trailer(person.name, person.email))
        if session.requested_by:
            named.setdefault(_trailer(session.requested_by, _address(session.requested_by, people.site)))
        for agent in session.agents:
            named.setdefault(_trailer(agent, f"{agent}@agent-runners.invalid"))
    return "\n".join(named)


def _address(login: str, site: Site) -> str:
    """The address at which GitHub recognizes a person whose own it does not show; on other forges it only names the person."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "", login)
    # With other characters it would be the address of somebody else.
    host = urlsplit(site.repo_url).hostname if plain == login else None
    return f"{plain or 'unknown'}@users.noreply.{host or 'invalid'}"


def _trailer(name: str, address: str) -> str:
    plain = re.sub(r"[<> ]+", " ", one_line(name)).strip() or "Unknown"
    return f"Co-authored-by: {plain} <{re.sub(r'[<> ]', '', one_line(address))}>"
