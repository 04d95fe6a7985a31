"""Preflights, on the control workers: they ask repositories, forges and model providers."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator

import structlog

from app import db
from app.config import acp_agents, agent_environment, settings
from app.keys import SecretKeyChanged
from app.models.short_task import EXPIRES_SECONDS
from app.models.states import VariableStage
from app.queue import RUN_PREFLIGHT
from app.redaction.secrets import Secrets, redacted_logs
from app.services.preflights import preflights
from app.services.preflights.preflights import Claim
from app.services.sites.forges import FORGES
from app.services.sites.site_secrets import secrets_of
from tasks.celery_app import app
from tasks.jobs.credentials import credential_of, git_credential_of
from tasks.jobs.host import this_host
from tasks.jobs.session_jobs import bound_secrets_of, mcp_servers_of
from workers.forges.apps import PULL_REQUESTS, PUSH
from workers.preflight import Check
from workers.preflight.mcp_servers import check_mcp_servers
from workers.preflight.model_key import check_model_key
from workers.preflight.repository import Repository, check_repository
from workers.processes.lifeline import Lifeline

log = structlog.get_logger()


@app.task(name=RUN_PREFLIGHT)
def run_preflight(preflight_id: str) -> None:
    """Do the checks that need the network, and record them."""
    row_id = uuid.UUID(preflight_id)
    with db.transaction():
        claim = preflights.claim(row_id)
        secrets = secrets_of(claim.site, claim.variables) if claim else Secrets()
    if claim is None:
        return
    with structlog.contextvars.bound_contextvars(preflight_id=preflight_id), redacted_logs(secrets):
        found = [dataclasses.replace(check, message=secrets.redact(check.message)) for check in _checks(claim)]
        log.info("preflight_done", failed=[check.code for check in found if check.status == "failed"])
    with db.transaction():
        preflights.record(row_id, map(dataclasses.asdict, found))


def _checks(claim: Claim) -> Iterator[Check]:
    site, host = claim.site, this_host(claim.site.account_id)
    try:
        token, git_credential = credential_of(site, PULL_REQUESTS), git_credential_of(site, PUSH)
        environment = {**agent_environment(settings()), **claim.variables.environment(VariableStage.AGENT)}
        bound = bound_secrets_of(claim.variables)
    except SecretKeyChanged as error:
        yield Check("token", "failed", str(error), "secret_key_changed")
        return
    forge = site.forge.value if FORGES[site.forge].has_pull_requests else None
    branch, lifeline = claim.preflight.branch, Lifeline(EXPIRES_SECONDS)
    repository = Repository(site.repo_url, branch, forge, site.forge_api_url, token, git_credential)
    yield from check_repository(repository, host, lifeline)
    if claim.preflight.agent is not None:
        key = check_model_key(claim.preflight.agent, acp_agents(settings()), environment, host)
        if key.code == "no_model_key" and claim.has_key:
            key = Check(key.name, "skipped", "A session worker has a key. It was not tried: this worker has none.")
        yield key
    yield from check_mcp_servers(mcp_servers_of(site), bound, host)
