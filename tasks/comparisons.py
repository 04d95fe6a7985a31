"""Comparisons of sessions, on the control workers."""

from __future__ import annotations

import dataclasses
import uuid

import structlog

from app import db
from app.keys import SecretKeyChanged
from app.models.limits import SessionLimits
from app.models.short_task import EXPIRES_SECONDS
from app.queue import COMPARE_SESSIONS
from app.redaction.secrets import Secrets, redacted_logs
from app.services.runners import comparisons
from app.services.runners.comparisons import Claim
from app.services.sites.site_secrets import secrets_of
from tasks.celery_app import app
from tasks.jobs.artifact_io import diff_reader, store_comparison
from tasks.jobs.credentials import git_credential_of
from tasks.jobs.host import this_host
from tasks.jobs.session_jobs import limits_of
from workers.comparison import ComparisonJob, Side, compare_sessions
from workers.errors import EngineError, Interrupted
from workers.forges.apps import FETCH
from workers.processes.lifeline import Lifeline

log = structlog.get_logger()
_FETCH_SECONDS = 30.0
"""How long git may take for one step. The bases are on the host as a rule."""
_INTERNAL = (
    "Agent Runners had an internal error. Request the comparison again; if it fails again, report the traceback in the "
    "control worker's log, under this comparison_id:"
)


@app.task(name=COMPARE_SESSIONS)
def compare(comparison_id: str) -> None:
    """Make the diff between two sessions, store it, and record it."""
    row_id = uuid.UUID(comparison_id)
    with db.transaction():
        claim = comparisons.claim(row_id)
        secrets = secrets_of(claim.site) if claim else Secrets()
    if claim is None:
        return
    with structlog.contextvars.bound_contextvars(comparison_id=comparison_id), redacted_logs(secrets):
        try:
            key = _compare(claim, secrets)
            log.info("compared", has_diff=key is not None)
        except EngineError as failure:
            _fail(row_id, failure.code, secrets.redact(failure.message))
        except SecretKeyChanged as failure:
            _fail(row_id, "secret_key_changed", str(failure))
        except Interrupted as reason:
            log.warning("dropped", reason=str(reason))
        except Exception:
            log.exception("internal_error")
            _fail(row_id, "internal", f"{_INTERNAL} {comparison_id}")
        else:
            with db.transaction():
                comparisons.succeed(row_id, key)


def _compare(claim: Claim, secrets: Secrets) -> str | None:
    """Make and store the diff; its key, or None if there is no difference."""
    runner, site = claim.runner, claim.site
    keys: list[str] = []
    job = ComparisonJob(
        site_id=str(site.id),
        repo_url=site.repo_url,
        branch=runner.branch,
        sha=runner.sha,
        old=Side(claim.old.base_sha, diff_reader(claim.old.diff_key)),
        new=Side(claim.new.base_sha, diff_reader(claim.new.diff_key)),
        secrets=secrets,
        lifeline=Lifeline(EXPIRES_SECONDS),
        limits=limits_of(SessionLimits(EXPIRES_SECONDS)),
        store=lambda chunks: keys.append(store_comparison(runner.id, chunks)),
        credential=git_credential_of(site, FETCH),
        partial_clone=site.partial_clone,
    )
    host = this_host(site.account_id)
    host = dataclasses.replace(host, fetch_timeout_seconds=min(host.fetch_timeout_seconds, _FETCH_SECONDS))
    return keys[0] if compare_sessions(job, host) else None


def _fail(comparison_id: uuid.UUID, code: str, message: str) -> None:
    log.info("not_compared", code=code)
    with db.transaction():
        comparisons.fail(comparison_id, code, message)
