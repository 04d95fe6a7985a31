"""A check of the operator's GitHub App."""

from __future__ import annotations

from app.config import settings
from tasks.doctor.finding import Finding
from tasks.jobs.credentials import github_app
from tasks.jobs.host import this_host
from workers.errors import EngineError
from workers.forges.github_app import examine

_PART = "github app"
REMEDY = "Correct AGENT_RUNNERS_GITHUB_APP_ID and AGENT_RUNNERS_GITHUB_APP_KEY_FILE. See docs/forges.md"


def app() -> Finding:
    """Whether GitHub accepts the App, and the owners that accounts may use it for have it installed."""
    used = github_app()
    assert used is not None
    try:
        found = examine(used, this_host())
    except EngineError as error:
        return Finding(_PART, "failing", error.message, REMEDY)
    granted = {grant.partition("=")[2].partition("/")[0].lower() for grant in settings().github_app_grants}
    if found.missing:
        remedy = "Add them in the settings of the App; then each owner accepts them on the page of the installation"
        return Finding(_PART, "failing", f"{found.name} lacks permissions: {', '.join(found.missing)}", remedy)
    if not granted:
        remedy = "Set AGENT_RUNNERS_GITHUB_APP_GRANTS. See docs/forges.md"
        return Finding(_PART, "failing", f"no account may use {found.name}", remedy)
    if absent := granted - found.owners:
        detail = f"{found.name} is not installed by {', '.join(sorted(absent))}, or is suspended there"
        return Finding(_PART, "failing", detail, "Have an owner of each install it, or correct the grants")
    return Finding(_PART, "working", f"{found.name}, for {', '.join(sorted(granted))}")
