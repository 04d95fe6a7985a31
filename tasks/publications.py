"""Tasks that publish. They have workers of their own, because sessions may occupy theirs for hours."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections import defaultdict
from typing import Any

import structlog

from app import db
from app.keys import SecretKeyChanged
from app.queue import CHECK_PULL_REQUESTS, COLLECT_GARBAGE, DELETE_ARTIFACTS, PUBLISH
from app.redaction.secrets import Secrets, redacted_logs
from app.services import leases
from app.services.accounts import forge_accounts
from app.services.artifacts import deletions, garbage
from app.services.forge_webhooks import failed_checks
from app.services.publishing import base_drift, publication_attempts, pull_requests
from app.services.publishing.publication_attempts import PublicationClaim
from app.services.sites.site_secrets import secrets_of
from tasks.attempts.heartbeat import Heartbeat
from tasks.celery_app import app
from tasks.extensions.results import TaskFailed, report
from tasks.jobs.host import this_host
from tasks.jobs.publication_jobs import drift_job_of, publish_job_of
from tasks.pull_request_facts import facts_of, get_facts
from workers.errors import EngineError, Interrupted
from workers.processes.lifeline import Lifeline
from workers.publishing.drift import measure_drift
from workers.publishing.publish import publish as publish_to_forge
from workers.publishing.pull_requests import PullRequestEnded

log = structlog.get_logger()
MOST_ATTEMPTS = 12
_FETCH_SECONDS = 30.0
"""How long a refresh may fetch. Other checks wait for it."""
_INTERNAL = (
    "Agent Runners had an internal error. Request it again; if it fails again, report the traceback in the control "
    "worker's log, under this publication_id:"
)


@app.task(name=PUBLISH, bind=True, throws=(TaskFailed,))
def publish(self: Any, publication_id: str) -> None:
    """Claim a publication and publish it to the forge, or drop the message if it cannot be claimed."""
    with db.transaction():
        claim = publication_attempts.claim(uuid.UUID(publication_id))
        secrets = _secrets_of(claim) if claim else Secrets()
    if claim is not None:
        report(self, _publish(claim, secrets))


def _secrets_of(claim: PublicationClaim) -> Secrets:
    return secrets_of(claim.site, also=forge_accounts.known_tokens(claim.forge_accounts))


def _publish(claim: PublicationClaim, secrets: Secrets) -> str | None:
    """Publish to the forge, and record the outcome. Returns the code of a failure, which may be retried later."""
    publication = claim.publication
    names = structlog.contextvars.bound_contextvars(publication_id=str(publication.id), attempt=publication.attempt)
    with names, redacted_logs(secrets):
        try:
            failure = _attempt(claim, secrets)
            return None if failure is None else _settle(claim, failure, secrets)
        except leases.LeaseLost as reason:
            log.info("dropped", reason=reason.error_code)
        except Interrupted as reason:
            log.warning("dropped", reason=str(reason))
        except db.UNAVAILABLE as error:
            # The sweep dispatches the next attempt, which looks up what the forge already has.
            log.warning("database_unavailable", error=type(error).__name__)
    return None


def _attempt(claim: PublicationClaim, secrets: Secrets) -> EngineError | None:
    """Publish to the forge, and record that. Returns what failed, if anything; what ended the attempt is raised."""
    publication, lifeline = claim.publication, Heartbeat.lifeline()
    try:
        with Heartbeat(publication, lifeline):
            done = publish_to_forge(publish_job_of(claim, secrets, lifeline), this_host(claim.site.account_id))
        with db.transaction():
            made = facts_of(done.pull_request) if done.pull_request else None
            warnings = [secrets.redact(each) for each in done.warnings]
            publication_attempts.succeed(publication.id, publication.attempt, done.sha, made, warnings)
    except (leases.LeaseLost, Interrupted, *db.UNAVAILABLE):
        raise
    except EngineError as failure:
        return failure
    except SecretKeyChanged as error:
        return EngineError("secret_key_changed", "publish", error.message)
    except Exception:
        log.exception("internal_error")
        return EngineError("internal", "publish", f"{_INTERNAL} {publication.id}")
    log.info("published", sha=done.sha)
    return None


def _settle(claim: PublicationClaim, failure: EngineError, secrets: Secrets) -> str:
    """Schedule a retry if one may help, otherwise record the failure for the caller."""
    publication, attempt = claim.publication, claim.publication.attempt
    log.info("publishing_failed", code=failure.code, retryable=failure.retryable)
    with db.transaction():
        if failure.retryable and attempt < MOST_ATTEMPTS:
            publication_attempts.retry_later(publication.id, attempt)
        else:
            found = facts_of(failure.pull_request) if isinstance(failure, PullRequestEnded) else None
            publication_attempts.fail(publication.id, attempt, secrets.redact(failure.message), found)
    return failure.code


@app.task(name=CHECK_PULL_REQUESTS)
def check_pull_requests() -> None:
    """Check the pull requests that are due: people may have merged or closed them on the forge.

    An account whose forges have taken its share of the time is left for the next run.
    """
    give_up_at, failed_sites = time.monotonic() + pull_requests.EVERY_SECONDS, set[uuid.UUID]()
    spent = defaultdict[uuid.UUID, float](float)
    while time.monotonic() < give_up_at:
        slow_accounts = [account for account, seconds in spent.items() if seconds > pull_requests.ACCOUNT_SECONDS]
        with db.transaction():
            check = pull_requests.claim_check(failed_sites, slow_accounts)
            secrets = secrets_of(check.site) if check else Secrets()
        if check is None:
            return
        started = time.monotonic()
        try:
            with redacted_logs(secrets):
                _check(check, secrets)
        except (EngineError, SecretKeyChanged) as failure:
            # If the forge is unavailable or rejects the token, the site's other checks would fail as well.
            failed_sites.add(check.site.id)
            log.info("runner_not_checked", agent_runner_id=str(check.runner_id), reason=str(failure))
            if check.is_refresh:
                with db.transaction():
                    base_drift.record_failure(check.runner_id, secrets.redact(str(failure)))
        finally:
            spent[check.site.account_id] += time.monotonic() - started


def _check(check: pull_requests.Check, secrets: Secrets) -> None:
    """Ask the forge for the pull request, and measure the drift if that was requested."""
    if check.number is not None:
        found = get_facts(check.site, check.number)
        with db.transaction():
            pull_requests.record_check(check, found)
        with db.transaction():
            failed_checks.look_for(check, found)
    if check.is_refresh:
        host = this_host(check.site.account_id)
        # A fetch that takes longer is left to the next session.
        host = dataclasses.replace(host, fetch_timeout_seconds=min(host.fetch_timeout_seconds, _FETCH_SECONDS))
        drift = measure_drift(drift_job_of(check, secrets, Lifeline(4 * _FETCH_SECONDS)), host)
        with db.transaction():
            base_drift.record(check, drift.behind_by, list(drift.conflicts))


@app.task(name=COLLECT_GARBAGE)
def collect_garbage() -> None:
    """Delete stored objects that nothing refers to. This is slow for a large store, so no sweep waits for it."""
    if deleted := garbage.collect():
        log.info("garbage_collected", deleted=deleted)


@app.task(name=DELETE_ARTIFACTS)
def delete_artifacts() -> None:
    """Delete the stored objects of runners that were purged."""
    if deleted := deletions.delete_requested():
        log.info("artifacts_deleted", deleted=deleted)
