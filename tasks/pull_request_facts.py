"""Pull requests and their checks, read from their forges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from app.models import Site
from app.models.states import PullRequestState
from app.services.publishing.pull_requests import CheckResults, PullRequestFacts
from tasks.jobs.credentials import credential_of
from tasks.jobs.host import this_host
from workers.errors import EngineError
from workers.forges.apps import CHECKS, READ_PULL_REQUESTS
from workers.forges.base import STATUS_NAME, PullRequest, is_web_page
from workers.forges.checks import Check, Outcome
from workers.forges.http import Limits
from workers.forges.registry import make_checks, make_forge

log = structlog.get_logger()
# These are a few short calls, and can wait for the next run.
_LIMITS = Limits(call_seconds=5.0, total_seconds=8.0, calls=4)
_CHECKS_LIMITS = Limits(call_seconds=5.0, total_seconds=8.0, calls=12)


def get_facts(site: Site, number: int) -> PullRequestFacts:
    """A pull request of the site, and its checks, as the forge shows them now. Raises EngineError and
    `SecretKeyChanged`."""
    pull_request = get_pull_request(site, number)
    return facts_of(pull_request, find_checks(site, pull_request))


def get_pull_request(site: Site, number: int) -> PullRequest:
    """A pull request with everything that the forge shows of it, except its checks. Raises as `get_facts`."""
    token = credential_of(site, READ_PULL_REQUESTS) or ""
    forge = make_forge(site.forge.value, site.repo_url, site.forge_api_url, token, this_host(), _LIMITS)
    return forge.get_pull_request(number)


def find_checks(site: Site, pull_request: PullRequest) -> list[Check] | None:
    """The checks of an open pull request's newest commit. Empty if the forge does not tell them: the token may lack that
    permission, and the pull request matters more. None if it may tell them later."""
    if pull_request.state not in ("open", "draft"):
        return []
    token = credential_of(site, CHECKS) or ""
    try:
        checks = make_checks(site.forge.value, site.repo_url, site.forge_api_url, token, this_host(), _CHECKS_LIMITS)
        return checks.find(pull_request.head_sha)
    except EngineError as failure:
        log.info("checks_not_read", site_id=str(site.id), reason=str(failure))
        return None if failure.retryable else []


def facts_of(pull_request: PullRequest, checks: Sequence[Check] | None = ()) -> PullRequestFacts:
    """What of a pull request is recorded. `checks` None: they were not read."""
    state = PullRequestState(pull_request.state)
    results = _results_of(checks or ())
    found = (pull_request.number, pull_request.url, state, results, checks is not None)
    return PullRequestFacts(*found, head_sha=pull_request.head_sha)


def _results_of(checks: Sequence[Check]) -> CheckResults | None:
    checks = [check for check in checks if check.name != STATUS_NAME]
    if not checks:
        return None
    counts = Counter(check.outcome for check in checks)
    failed = [check for check in checks if check.outcome == Outcome.FAILED]
    failures = [(check.name, check.url if is_web_page(check.url) else None) for check in failed]
    pending = counts[Outcome.RUNNING] + counts[Outcome.STALLED]
    return CheckResults(counts[Outcome.PASSED], counts[Outcome.FAILED], pending, failures)
