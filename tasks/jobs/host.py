"""The description of this host from the settings."""

from __future__ import annotations

import uuid

from app.config import acp_agents, settings
from app.setting_values import SettingsError
from workers.egress.rules import Rule
from workers.job import Host


def this_host(account_id: uuid.UUID | None = None) -> Host:
    """This host as the settings describe it, for work of an account if one is named. Raises `SettingsError` if an egress host in them is not valid."""
    for text in settings().egress_hosts:
        try:
            Rule.parse(text)
        except ValueError as error:
            raise SettingsError(f"AGENT_RUNNERS_EGRESS_HOSTS: {error}") from None
    protocols = ["https"]
    if settings().allow_ssh:
        protocols.append("ssh")
    if settings().allow_http:
        protocols.append("http")
    return Host(
        work_dir=settings().work,
        sandbox="bubblewrap" if settings().sandbox == "bubblewrap" else "none",
        sandbox_uid=settings().sandbox_uid,
        overlay=settings().overlay,
        setup_cache_bytes=settings().setup_cache_bytes,
        allowed_protocols=tuple(protocols),
        local_repositories=settings().local_repositories_of(account_id),
        fetch_timeout_seconds=settings().fetch_timeout_seconds,
        max_fetch_bytes=settings().max_fetch_bytes,
        max_git_memory_bytes=settings().max_git_memory_bytes,
        isolate_git=settings().isolate_git,
        egress_hosts=settings().egress_hosts,
        acp_agents=acp_agents(settings()),
        model_patience_seconds=settings().model_patience_seconds,
        prices_file=settings().prices_file,
        allow_private_addresses=settings().allow_private_addresses,
        committer=settings().committer,
        signing_key=settings().signing_key_file,
    )
