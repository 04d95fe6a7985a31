"""Builds the engine's job for a claimed session, and the description of this host from the settings."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from pathlib import Path

from app.config import acp_agents, agent_environment, settings
from app.models.limits import SessionLimits
from app.redaction.secrets import Secrets
from app.services.execution.session_attempts import Claim
from app.services.sites.site_secrets import credential_of
from app.setting_values import SettingsError
from tasks.jobs.artifact_io import StoredDiffs, diff_reader, file_reader
from workers.egress.rules import Rule
from workers.job import Attachment, Host, Job, Limits
from workers.processes.lifeline import Lifeline


def job_of(
    claim: Claim, sink: StoredDiffs, secrets: Secrets, lifeline: Lifeline, on_interrupt: Callable[[], bool]
) -> Job:
    """The engine's job for the claimed attempt."""
    session, runner, site = claim.session, claim.runner, claim.site
    return Job(
        site_id=str(site.id),
        runner_id=str(runner.id),
        session_id=str(session.id),
        attempt=session.attempt,
        repo_url=site.repo_url,
        branch=runner.branch,
        needs_default_branch=site.default_branch is None,
        sha=runner.sha,
        base_sha=runner.base_sha,
        start_diff=diff_reader(session.start_diff_key) if session.start_diff_key else None,
        credential=credential_of(site),
        prompt=session.prompt,
        agent=session.agent,
        model=session.model,
        effort=session.effort,
        mode=session.mode.value,
        setup_command=site.setup_command,
        setup_cache_files=None if site.setup_cache_files is None else tuple(site.setup_cache_files),
        allow_agent_configuration=site.allow_agent_configuration,
        egress_hosts=tuple(site.egress_hosts),
        attachments=tuple(Attachment(Path(key).name, file_reader(key)) for key in session.attached_file_keys),
        limits=limits_of(SessionLimits.stored(session.limits)),
        environment=agent_environment(settings()),
        sink=sink,
        secrets=secrets,
        lifeline=lifeline,
        on_interrupt=on_interrupt,
    )


def limits_of(chosen: SessionLimits) -> Limits:
    """The limits of a session: those that its caller chose, and the operator's for the rest."""
    return Limits(
        **dataclasses.asdict(chosen),
        stall_seconds=settings().stall_seconds,
        max_output_bytes=settings().max_output_bytes,
        max_steps=settings().max_steps,
        max_steps_bytes=settings().max_steps_bytes,
        max_diff_bytes=settings().max_diff_bytes,
        max_diff_files=settings().max_diff_files,
        max_memory_bytes=settings().max_memory_bytes,
        max_processes=settings().max_processes,
        max_cpus=settings().max_cpus,
        max_open_files=settings().max_open_files,
        max_file_bytes=settings().max_file_bytes,
        max_disk_bytes=settings().max_disk_bytes,
        max_disk_files=settings().max_disk_files,
    )


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
        egress_hosts=settings().egress_hosts,
        acp_agents=acp_agents(settings()),
        allow_private_addresses=settings().allow_private_addresses,
    )
