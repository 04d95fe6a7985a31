"""Follow-ups for pull requests whose checks have failed."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from app import db
from app.errors import NotFound, TooMany
from app.escaping import inert, one_line
from app.models import AgentRunnerSession, ForgeDelivery, ForgeWebhook
from app.models.states import FileStatus, ForgeDeliveryState, ForgeEvent, OnFailedChecks
from app.services import leases, lookup
from app.services.artifacts import diffs
from app.services.artifacts.diff_files import DiffFile
from app.services.forge_webhooks import deliveries, follow_ups
from app.services.forge_webhooks.deliveries import Claim
from app.services.forge_webhooks.payloads import Notice
from app.services.publishing import publication_attempts, pull_requests
from app.services.publishing.pull_requests import PullRequestFacts
from app.services.sites import site_secrets
from app.services.sites.forges import FORGES

WAIT_SECONDS, LONGEST_WAIT_SECONDS = 300.0, 3600.0
"""How often the checks are read again while others still run, and how long that is waited for."""
_MOST_NAMED = 20
_TEST = re.compile(
    r"(^|/)(tests?|specs?|__tests__|testdata|e2e)/|(^|/)(test_[^/]*|conftest\.py|[^/]*([._-](test|spec)s?|Tests?)\.\w+)$"
)


@dataclass(frozen=True)
class Findings:
    """The checks of a pull request's newest commit, as the forge shows them now."""

    is_open: bool
    head_sha: str
    failed: Sequence[str] = ()
    """The names of those that failed, without those that fail on the base branch as well."""
    failed_on_base: Sequence[str] = ()
    is_running: bool = False
    """Whether others have not ended yet."""
    prompt: str = ""


def look_for(check: pull_requests.Check, facts: PullRequestFacts) -> None:
    """Record a delivery that checks of a pull request have failed, if its forge delivers none and nothing was done for the
    commit yet. `facts` are what was just read of it."""
    is_told = FORGES[check.site.forge].delivers_checks
    if is_told or check.number is None or facts.checks is None or not facts.checks.failed:
        return
    query = sa.select(ForgeWebhook).where(ForgeWebhook.site_id == check.site.id)
    webhook = db.session.scalar(lookup.locked(query, ForgeWebhook))
    if webhook is None or webhook.on_failed_checks == OnFailedChecks.OFF:
        return
    if db.session.scalar(_followed(check.runner_id, facts.head_sha)):
        return
    notice = Notice(ForgeEvent.CHECKS, check.number)
    # If too many wait already, they are found again.
    with contextlib.suppress(TooMany):
        deliveries.record(webhook, notice, f"{facts.head_sha} {check.count}", check.number, check.runner_id)


def begin(claim: Claim, findings: Findings) -> None:
    """Create the follow-up, or have it suggested, as the webhook says. Raises `LeaseLost`."""
    delivery = deliveries.hold(claim)
    webhook = db.session.get_one(ForgeWebhook, delivery.webhook_id)
    # Two deliveries about one commit may be read at once. What follows is the same for both, and is done once.
    db.lock(f"failed checks of {delivery.agent_runner_id}")
    if reason := _reason_to_ignore(webhook, delivery, findings):
        deliveries.end(delivery, ForgeDeliveryState.IGNORED, reason)
    elif not findings.failed:
        deliveries.end(delivery, ForgeDeliveryState.DONE)
    elif findings.is_running and _age(delivery) < LONGEST_WAIT_SECONDS:
        leases.release(delivery, dispatch_in=WAIT_SECONDS)
    else:
        delivery.commit_sha = findings.head_sha
        leases.release(delivery)
        _act(webhook, delivery, findings)


def _age(delivery: ForgeDelivery) -> float:
    assert delivery.locked_at is not None
    return (delivery.locked_at - delivery.created_at).total_seconds()


def _reason_to_ignore(webhook: ForgeWebhook, delivery: ForgeDelivery, findings: Findings) -> str | None:
    own = publication_attempts.own_shas(delivery.its_runner.id, delivery.its_runner.pr_branch)
    if webhook.on_failed_checks == OnFailedChecks.OFF:
        return "Failed checks are not followed."
    if not findings.is_open:
        return "The pull request is closed."
    if findings.head_sha not in own:
        return "The newest commit is not one that the runner made."
    if findings.failed_on_base and not findings.failed:
        return f"These checks fail on the base branch as well: {_named(findings.failed_on_base)}."
    if findings.failed and not publication_attempts.is_head(delivery.its_runner, findings.head_sha):
        return "The runner has newer work than the commit whose checks failed."
    return "The checks of this commit were followed before." if _was_followed(delivery, findings.head_sha) else None


def _was_followed(delivery: ForgeDelivery, sha: str) -> bool:
    return bool(db.session.scalar(_followed(delivery.agent_runner_id, sha, ForgeDelivery.id != delivery.id)))


def _followed(runner_id: uuid.UUID | None, sha: str, *conditions: sa.ColumnElement[bool]) -> sa.Select[tuple[bool]]:
    """Whether something was done for the checks of a commit."""
    same = (ForgeDelivery.agent_runner_id == runner_id, ForgeDelivery.commit_sha == sha)
    return sa.select(sa.exists().where(*same, *conditions))


def _act(webhook: ForgeWebhook, delivery: ForgeDelivery, findings: Findings) -> None:
    failed = f"These checks failed: {_named(findings.failed)}."
    if webhook.on_failed_checks == OnFailedChecks.SUGGEST:
        follow_ups.answer(delivery, f"{failed} To have me fix this, comment: `{webhook.trigger_name} fix the checks`")
    elif (tries := _count_tries(delivery)) >= webhook.max_fixes:
        follow_ups.answer(delivery, f"{failed} I have tried to fix checks {_times(tries)}, so I leave this to you.")
    else:
        delivery.prompt = site_secrets.secrets_of(delivery.its_runner.site).redact(findings.prompt)
        follow_ups.start(webhook, delivery)


def _count_tries(delivery: ForgeDelivery) -> int:
    """The follow-ups that the pull request has had for failed checks."""
    tried = (
        ForgeDelivery.agent_runner_id == delivery.agent_runner_id,
        ForgeDelivery.number == delivery.number,
        ForgeDelivery.event == ForgeEvent.CHECKS,
        ForgeDelivery.session_id.is_not(None),
    )
    return db.session.scalars(sa.select(sa.func.count()).where(*tried)).one()


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _named(names: Sequence[str]) -> str:
    shown = [one_line(name)[:200] for name in names[:_MOST_NAMED]]
    return inert(", ".join(shown)) + (" and more" if len(names) > _MOST_NAMED else "")


def find_doubtful(delivery_id: uuid.UUID) -> list[str]:
    """The files of the finished follow-up of a delivery that a person has to look at before they are pushed: those that
    configure checks, and tests that are deleted or get shorter. Empty for a follow-up that a person asked for.

    Call this outside a transaction, because it reads the store.
    """
    with db.transaction(read_only=True):
        delivery = db.session.get(ForgeDelivery, delivery_id)
        if delivery is None or delivery.event != ForgeEvent.CHECKS or delivery.session_id is None:
            return []
        session = db.session.get_one(AgentRunnerSession, delivery.session_id)
        if session.is_active or session.result_diff_key is None:
            return []
        diff = diffs.stored(session.result_diff_key)
    try:
        files = diff.files(1, max(1, diff.total)).items
    except NotFound:
        # Publishing it will say so.
        return []
    return [file.path for file in files if _is_doubtful(file)]


def _is_doubtful(file: DiffFile) -> bool:
    if file.sensitive:
        return True
    if file.status == FileStatus.RENAMED:
        return is_test(file.old_path or "") and not is_test(file.path)
    is_shorter = file.status == FileStatus.DELETED or file.deletions > file.additions
    return is_test(file.path) and is_shorter


def is_test(path: str) -> bool:
    """Whether a file looks like a test, by its name or folder in common languages."""
    return bool(_TEST.search(path.strip('"')))
