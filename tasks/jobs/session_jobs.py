"""Builds the engine's job for a claimed session."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.config import agent_environment, settings
from app.models import AgentRunnerSession, Site, Variable
from app.models.limits import SessionLimits
from app.models.states import VariableStage
from app.redaction.secrets import Secrets
from app.services.execution import scheduling, transcripts
from app.services.execution.session_attempts import Claim
from app.services.variables import binding, values
from app.services.variables.values import Variables
from tasks.attempts.transactions import transact
from tasks.jobs.artifact_io import StoredWork, conversation_reader, diff_reader, file_reader, lfs_reader
from tasks.jobs.credentials import git_credential_of
from workers.events import Usage
from workers.forges.apps import FETCH
from workers.job import Attachment, BoundSecret, Conversation, EarlierAttempt, Fallback, Job, Limits, McpServer
from workers.processes.lifeline import Lifeline


def job_of(
    claim: Claim,
    variables: Variables,
    sink: StoredWork,
    secrets: Secrets,
    lifeline: Lifeline,
    on_interrupt: Callable[[], bool],
) -> Job:
    """The engine's job for the claimed attempt. Variables of the site take the place of the operator's."""
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
        base_sha=session.base_sha or runner.base_sha,
        start_diff=diff_reader(session.start_diff_key) if session.start_diff_key else None,
        read_lfs_object=lfs_reader(runner.id),
        credential=git_credential_of(site, FETCH),
        # Where a fetch took long before, its sessions fetch one at a time already.
        fetch_patience_seconds=scheduling.SLOW_FETCH_SECONDS if site.fetch_failed_at is None else None,
        prompt=session.prompt,
        agent=session.agent,
        model=session.model,
        effort=session.effort,
        fallbacks=_fallbacks_of(claim),
        mode=session.mode.value,
        resolves=session.resolve is not None,
        may_ask=session.may_ask,
        mcp_servers=mcp_servers_of(site),
        setup_command=site.setup_command,
        setup_cache_files=None if site.setup_cache_files is None else tuple(site.setup_cache_files),
        sparse_paths=tuple(site.sparse_paths or ()),
        partial_clone=site.partial_clone,
        allow_agent_configuration=site.allow_agent_configuration,
        egress_hosts=tuple(site.egress_hosts),
        attachments=tuple(Attachment(Path(key).name, file_reader(key)) for key in session.attached_file_keys),
        conversation=_conversation_of(claim),
        earlier=_earlier_of(claim.session),
        limits=limits_of(SessionLimits.stored(session.limits)),
        environment={**agent_environment(settings()), **variables.environment(VariableStage.AGENT)},
        bound_secrets=bound_secrets_of(variables),
        setup_environment=variables.environment(VariableStage.SETUP),
        setup_fingerprint=variables.fingerprint(VariableStage.SETUP),
        sink=sink,
        secrets=secrets,
        lifeline=lifeline,
        on_interrupt=on_interrupt,
    )


def mcp_servers_of(site: Site) -> tuple[McpServer, ...]:
    """The MCP servers of a site."""
    return tuple(map(_mcp_server, site.mcp_servers or ()))


def bound_secrets_of(variables: Variables) -> tuple[BoundSecret, ...]:
    """The secrets that only one host gets, decrypted. Raises `SecretKeyChanged`."""
    return tuple(map(_bound, variables.bound()))


def _mcp_server(fields: dict[str, Any]) -> McpServer:
    lists = {name: tuple(fields[name]) for name in ("command", "variables", "disabled_tools")}
    return McpServer(fields["name"], url=fields["url"], credential=fields["credential"], **lists)


def _fallbacks_of(claim: Claim) -> tuple[Fallback, ...]:
    """The agents of the site that take over where the session's own is out of quota."""
    named = [each.partition(":") for each in claim.site.fallback_agents or ()]
    return tuple(Fallback(agent, model or None) for agent, _, model in named if agent != claim.session.agent)


def _conversation_of(claim: Claim) -> Conversation | None:
    """The earlier sessions, or the earlier attempt, that the claimed session continues from, if there are any."""
    session = claim.session
    before = session if session.goes_on else claim.continues
    if before is None:
        return None
    words = functools.partial(transact, functools.partial(transcripts.transcript, session.id))
    if before.agent != session.agent:
        return Conversation(words, reason=f"The session before was one of {before.agent}.")
    if before.taken_over_by:
        return Conversation(words, reason=f"{before.taken_over_by['agent']} took over in the session before.")
    if before is not session and not transcripts.is_in_files_of(before, session):
        return Conversation(words, reason="The session before made changes that are not in the files of this one.")
    if not (before.conversation_key and before.native_session_id):
        which = "attempt" if before is session else "session"
        return Conversation(words, reason=f"The memory of {before.agent} of the previous {which} is not stored.")
    return Conversation(words, before.native_session_id, conversation_reader(before.conversation_key))


def _bound(variable: Variable) -> BoundSecret:
    header, prefix = binding.parts(variable)
    return BoundSecret(variable.name, f"https://{variable.host}", header, prefix, values.decrypt(variable))


def _earlier_of(session: AgentRunnerSession) -> EarlierAttempt | None:
    """What an attempt left that waited for a quota, if there was one."""
    if not session.goes_on:
        return None
    key = session.cumulative_diff_key
    return EarlierAttempt(diff_reader(key) if key else None, Usage(**session.usage) if session.usage else None)


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
        wrap_up_at=settings().wrap_up_at,
        max_conversation_bytes=settings().max_conversation_bytes,
    )
