"""A site's templates for its pull requests: the name of the branch, the title, and what comes before and after the list of sessions.

`{{ title }}` is a placeholder. Unlike the templates of hooks, these have few, and an unknown one is refused when it is set.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from app.config import settings
from app.errors import invalid
from app.models import AgentRunner
from app.redaction.secrets import Secrets
from app.services.sites import git_names

SLUG_LENGTH = 40
BRANCH = "agent/{{ slug }}-{{ id }}"
"""The pattern of sites that have none."""
SESSIONS = "sessions"
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_IN_BRANCH, _IN_TITLE = ("slug", "id", "user"), ("title", "id", "branch", "user")
_IN_BODY = (*_IN_TITLE, "url", SESSIONS)


def check(fields: Mapping[str, Any]) -> None:
    """Raise `Invalid` for a template with an unknown placeholder, or a branch pattern that does not make valid names."""
    places = {"pr_branch_pattern": _IN_BRANCH, "pr_title_template": _IN_TITLE, "pr_body_template": _IN_BODY}
    for field, known in places.items():
        for place in _PLACE.findall(fields.get(field) or ""):
            if place not in known:
                message = f"has the unknown placeholder {place}; use {', '.join(known)}"
                raise invalid(field, message, error_code="unknown_place")
    if pattern := fields.get("pr_branch_pattern"):
        if "id" not in _PLACE.findall(pattern):
            message = "must contain the placeholder {{ id }}, so that each runner has a branch of its own"
            raise invalid("pr_branch_pattern", message, error_code="unknown_place")
        git_names.plain_branch("pr_branch_pattern", _filled(pattern, dict.fromkeys(_IN_BRANCH, "x")))


def branch_of(runner: AgentRunner, secrets: Secrets) -> str:
    """The branch of the runner's pull request: computed once and stored, so that every later try pushes to the same one."""
    values = {
        "slug": _slug(secrets.redact(runner.title)) or "change",
        "id": _id(runner),
        "user": _slug(secrets.redact(runner.user.full_name)) or "somebody",
    }
    return git_names.without_prefix(_filled(runner.site.pr_branch_pattern or BRANCH, values))


def title_of(runner: AgentRunner) -> str:
    """The title of a new pull request whose request has none."""
    return _filled(runner.site.pr_title_template or "{{ title }}", _values(runner))


def around_sessions(runner: AgentRunner) -> tuple[str, str]:
    """What comes before and after the list of sessions in a new description. A template without a placeholder for
    the list has it at its end."""
    template = runner.site.pr_body_template or ""
    found = next((each for each in _PLACE.finditer(template) if each[1] == SESSIONS), None)
    parts = (
        (template[: found.start()], template[found.end() :]) if found else (f"{template}\n\n" if template else "", "")
    )
    values = {**_values(runner), SESSIONS: ""}
    return _filled(parts[0], values), _filled(parts[1], values)


def _values(runner: AgentRunner) -> dict[str, str]:
    return {
        "title": runner.title,
        "id": _id(runner),
        "branch": runner.branch or "",
        "user": runner.user.full_name,
        "url": f"{settings().public_url.rstrip('/')}/runners/{runner.id}",
    }


def _filled(template: str, values: Mapping[str, str]) -> str:
    """The template with the values. Unknown placeholders, which another release may know, stay as they are."""
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), template)


def _id(runner: AgentRunner) -> str:
    return runner.id.hex[-8:]


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:SLUG_LENGTH].strip("-")
