"""What keeps agents and callers of a site within bounds. Only an administrator may lower it; others may raise it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.errors import Forbidden
from app.models import Site
from app.models.states import Scope, SensitiveFiles
from app.services.callers import Caller

_DEFAULT_BRANCH = ""
"""Stands for the default branch, which may be unknown yet."""


@dataclass(frozen=True)
class Guards:
    """The branches that nothing is committed to directly, the hosts that agents may reach and the
    servers of tools that they use, whether files of the repository
    may configure agents, and whether changes of sensitive files may be published."""

    protected_branches: frozenset[str]
    egress_hosts: frozenset[str]
    mcp_servers: frozenset[str]
    allow_agent_configuration: bool
    publishes_sensitive_files: bool

    def lowered(self, after: Guards) -> str | None:
        """The first field whose change allows more, if there is one."""
        if self.protected_branches - after.protected_branches:
            return "protected_branches"
        if after.egress_hosts - self.egress_hosts:
            return "egress_hosts"
        if after.mcp_servers - self.mcp_servers:
            return "mcp_servers"
        if after.publishes_sensitive_files > self.publishes_sensitive_files:
            return "sensitive_files"
        return "allow_agent_configuration" if after.allow_agent_configuration > self.allow_agent_configuration else None


def of(site: Site) -> Guards:
    """The guards of a site as it is now."""
    protected = frozenset(site.protected)
    if site.protected_branches is None or site.default_branch in protected:
        protected |= {_DEFAULT_BRANCH}
    publishes_sensitive = site.sensitive_files != SensitiveFiles.REFUSE
    servers = frozenset(json.dumps(each, sort_keys=True) for each in site.mcp_servers or ())
    return Guards(protected, frozenset(site.egress_hosts), servers, site.allow_agent_configuration, publishes_sensitive)


def require_admin_to_lower(caller: Caller, before: Guards, after: Guards) -> None:
    """Raise `Forbidden` if the change allows more than before and the caller is no administrator."""
    field = before.lowered(after)
    if field is not None and not caller.may(Scope.ADMIN):
        raise Forbidden(
            f"This change of the site takes protection away ({field}), which needs the scope admin. Leave it out, or use "
            "a token that includes admin.",
            error_code="scope_missing",
        )
