"""Follows what forges deliver to their webhooks, on the control workers."""

from __future__ import annotations

import dataclasses
import uuid

import structlog

from app import db
from app.config import settings
from app.keys import SecretKeyChanged
from app.models import Site
from app.models.states import ForgeEvent, OnFailedChecks
from app.queue import FOLLOW_FORGE
from app.redaction.secrets import Secrets, redacted_logs
from app.services import control_places, leases
from app.services.forge_webhooks import deliveries, failed_checks, follow_ups, issue_runs
from app.services.forge_webhooks.failed_checks import Findings
from app.services.forge_webhooks.issue_runs import IssueRequest
from app.services.forge_webhooks.mentions import Remarks
from app.services.sites.forges import FORGES
from app.services.sites.site_secrets import secrets_of
from tasks.celery_app import app
from tasks.jobs.credentials import credential_of
from tasks.jobs.host import this_host
from tasks.pull_request_facts import facts_of, get_facts, get_pull_request
from workers.errors import EngineError
from workers.forges.apps import CHECKS, COMMENTS, ISSUES
from workers.forges.base import PullRequest
from workers.forges.checks import Check, Checks, Outcome, described, failures_of
from workers.forges.checks import request_of as fix_of
from workers.forges.deadline import ends_within
from workers.forges.discussions import Discussions, request_of
from workers.forges.http import Limits
from workers.forges.issues import Issues
from workers.forges.issues import request_of as resolution_of
from workers.forges.registry import make_checks, make_discussions, make_issues

log = structlog.get_logger()
# All that is read and written for one delivery, in parts of the lease. The rest is for recording it.
_SHARE_OF_LEASE = 2 / 3
# Of a review there may be many pages of remarks.
_LIMITS = Limits(call_seconds=5.0, total_seconds=20.0, calls=30)
# Logs are read as well, within nine seconds.
_CHECK_LIMITS = Limits(call_seconds=5.0, total_seconds=9.0, calls=20)


@app.task(name=FOLLOW_FORGE)
def follow_forge(delivery_id: str) -> None:
    """Read from the forge what a delivery is about, or write the answer to what somebody asked for."""
    with db.transaction():
        claim = deliveries.claim(uuid.UUID(delivery_id))
        secrets = secrets_of(claim.site) if claim else Secrets()
    if claim is None:
        return
    names = structlog.contextvars.bound_contextvars(delivery_id=delivery_id, attempt=claim.delivery.attempt)
    with names, redacted_logs(secrets), ends_within(settings().lease_seconds * _SHARE_OF_LEASE):
        try:
            _follow(claim, secrets)
        except leases.LeaseLost as reason:
            log.info("dropped", reason=reason.error_code)
    with db.transaction():
        control_places.dispatch_next()


def _follow(claim: deliveries.Claim, secrets: Secrets) -> None:
    try:
        if claim.delivery.answer is not None:
            _answer(claim, claim.delivery.answer)
        elif claim.delivery.event == ForgeEvent.ISSUE:
            _read_issue(claim)
        elif claim.delivery.event == ForgeEvent.CHECKS and claim.webhook.on_failed_checks != OnFailedChecks.OFF:
            _read_checks(claim)
        elif claim.delivery.event in (ForgeEvent.PULL_REQUEST, ForgeEvent.CHECKS):
            facts = get_facts(claim.site, claim.delivery.number)
            with db.transaction():
                deliveries.succeed(claim, facts)
        else:
            _read(claim)
    except (EngineError, SecretKeyChanged) as failure:
        log.info("forge_not_followed", reason=str(failure))
        with db.transaction():
            is_retryable = isinstance(failure, EngineError) and failure.retryable
            deliveries.fail(claim, secrets.redact(str(failure)), retryable=is_retryable)


def _read(claim: deliveries.Claim) -> None:
    """Read what somebody wrote, and what has happened to the pull request meanwhile."""
    site, delivery = claim.site, claim.delivery
    assert delivery.subject_id is not None
    pull_request, discussions = get_pull_request(site, delivery.number), _discussions(site)
    read = discussions.get_review if delivery.event == ForgeEvent.REVIEW else discussions.get_comment
    found = read(delivery.number, delivery.subject_id)
    remarks = Remarks(
        author=found.author,
        is_person=not (found.is_bot or found.is_own),
        may_write=discussions.may_write(found.author),
        text=found.text,
        prompt=request_of(found, FORGES[site.forge].name) + _known_failures(claim, pull_request),
        is_open=pull_request.state in ("open", "draft"),
        head_sha=pull_request.head_sha,
    )
    # There is no time for its checks before the lease ends. Other deliveries are about them.
    with db.transaction():
        deliveries.record_facts(claim, facts_of(pull_request, None if remarks.is_open else ()))
    with db.transaction():
        follow_ups.begin(claim, remarks)


def _read_checks(claim: deliveries.Claim) -> None:
    """Read the checks of the pull request's newest commit, and of its base, and the logs of those that failed."""
    site, number = claim.site, claim.delivery.number
    pull_request = get_pull_request(site, number)
    is_open = pull_request.state in ("open", "draft")
    findings, found = Findings(is_open, pull_request.head_sha), list[Check]()
    if is_open:
        checks = _checks(site)
        found = checks.find(pull_request.head_sha)
        failed, on_base = _failed(checks, found, pull_request)
        failures = failures_of(checks, failed)
        findings = dataclasses.replace(
            findings,
            failed=[check.name for check in failed],
            failed_on_base=[check.name for check in on_base],
            is_running=any(check.outcome == Outcome.RUNNING for check in found),
            prompt=fix_of(failures, number, FORGES[site.forge].name) if failures else "",
        )
    with db.transaction():
        deliveries.record_facts(claim, facts_of(pull_request, found))
    with db.transaction():
        failed_checks.begin(claim, findings)


def _read_issue(claim: deliveries.Claim) -> None:
    """Read an issue, and who asks for it to be resolved: by its label, by its text, or in the comment of the delivery."""
    site, delivery = claim.site, claim.delivery
    issues = _issues(site)
    issue = issues.get_issue(delivery.number)
    label = (claim.webhook.issue_label or "").lower()
    is_labelled = delivery.subject_id is None and label in (each.lower() for each in issue.labels)
    author: str | None = issue.author
    is_person, text = not issue.is_by_bot, issue.text
    if delivery.subject_id is not None:
        comment = issues.get_comment(delivery.number, delivery.subject_id)
        author, text, is_person = comment.author, comment.text, not (comment.is_bot or comment.is_own)
    elif is_labelled:
        author, is_person = issues.find_who_labelled(delivery.number, label), True
    asked = text if delivery.subject_id is not None else ""
    request = IssueRequest(
        author=author,
        is_person=is_person,
        may_write=author is not None and issues.may_write(author),
        text=text,
        is_labelled=is_labelled,
        is_open=issue.is_open,
        title=issue.title,
        prompt=resolution_of(issue, FORGES[site.forge].name, asked),
    )
    with db.transaction():
        issue_runs.begin(claim, request)


def _failed(checks: Checks, found: list[Check], pull_request: PullRequest) -> tuple[list[Check], list[Check]]:
    """The checks that failed because of the pull request, and those that fail on its base as well."""
    failed = [check for check in found if check.outcome == Outcome.FAILED]
    base = checks.find(pull_request.base) if failed else []
    on_base = {check.name for check in base if check.outcome == Outcome.FAILED}
    return [each for each in failed if each.name not in on_base], [each for each in failed if each.name in on_base]


def _known_failures(claim: deliveries.Claim, pull_request: PullRequest) -> str:
    """The checks of the pull request that have failed, for the prompt of a follow-up that somebody asks for. Empty if the
    site does not follow checks."""
    if claim.webhook.on_failed_checks == OnFailedChecks.OFF:
        return ""
    checks = _checks(claim.site)
    failed, _ = _failed(checks, checks.find(pull_request.head_sha), pull_request)
    return f"\n\nThese checks of it have failed.\n\n{described(failures_of(checks, failed))}" if failed else ""


def _answer(claim: deliveries.Claim, text: str) -> None:
    delivery = claim.delivery
    issues = _issues(claim.site) if delivery.event == ForgeEvent.ISSUE else None
    if issues and delivery.answer_is_interim:
        issues.acknowledge(delivery.number)
    (issues or _discussions(claim.site)).write_comment(delivery.number, str(delivery.id), text)
    with db.transaction():
        follow_ups.answered(claim)


def _issues(site: Site) -> Issues:
    token = credential_of(site, ISSUES) or ""
    return make_issues(site.forge.value, site.repo_url, site.forge_api_url, token, this_host(), _LIMITS)


def _checks(site: Site) -> Checks:
    token = credential_of(site, CHECKS) or ""
    return make_checks(site.forge.value, site.repo_url, site.forge_api_url, token, this_host(), _CHECK_LIMITS)


def _discussions(site: Site) -> Discussions:
    token = credential_of(site, COMMENTS) or ""
    return make_discussions(site.forge.value, site.repo_url, site.forge_api_url, token, this_host(), _LIMITS)
