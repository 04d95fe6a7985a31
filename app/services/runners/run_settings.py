"""What schedules and hooks have in common: the settings of the runners that they create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.models import Site
from app.models.limits import LIMIT_NAMES
from app.models.run_settings import RunSettings
from app.models.states import Mode
from app.services.accounts import storage
from app.services.callers import Caller
from app.services.runners.creation import NewRunner, NewSession
from app.services.runners.session_configuration import choose
from app.services.sites import git_names
from app.services.unset import UNSET, Unset


@dataclass(frozen=True, kw_only=True)
class RunFields:
    """The settings that a request sets. One that is left out keeps its value, or has its default."""

    prompt: str | Unset = UNSET
    mode: Mode | Unset = UNSET
    agent: str | Unset | None = UNSET
    model: str | Unset | None = UNSET
    effort: str | Unset | None = UNSET
    branch: str | Unset | None = UNSET
    limits: Mapping[str, float | None] | Unset | None = UNSET

    def sent(self) -> Mapping[str, Any]:
        """The fields that the request sets, with their values."""
        return {name: value for name, value in vars(self).items() if value is not UNSET}


def reserve_prompt(caller: Caller, fields: RunFields, row: RunSettings | None = None) -> None:
    """Count what a sent prompt adds to what the account stores; raises `Forbidden` as `storage.reserve` does.

    `row` is what has the fields already. This locks the account, so the site may not be locked yet.
    """
    before = len(row.prompt.encode()) if row else 0
    if fields.prompt is not UNSET and (added := len(fields.prompt.encode()) - before) > 0:
        storage.reserve(caller.account_id, added)


def apply(site: Site, row: RunSettings, fields: RunFields) -> None:
    """Set all fields that are sent. Raises `Invalid` for settings that a runner would be refused with."""
    for name, value in fields.sent().items():
        setattr(row, name, value)
    if row.limits is not None:
        row.limits = {name: row.limits.get(name) for name in LIMIT_NAMES}
    if row.branch is not None:
        row.branch = git_names.plain_branch("branch", row.branch)
    choose(site, new_session(row, row.prompt))


def new_session(row: RunSettings, prompt: str) -> NewSession:
    """A session with these settings."""
    return NewSession(
        prompt=prompt,
        mode=row.mode,
        agent=row.agent,
        model=row.model,
        effort=row.effort,
        limits=row.limits,
        may_ask=False,
    )


def new_runner(site: Site, row: RunSettings, prompt: str, title: str | None) -> NewRunner:
    """A runner with these settings. Without a title it has that of its prompt."""
    session = asdict(new_session(row, prompt))
    return NewRunner(**session, site_id=site.id, branch=row.branch, title=title)
