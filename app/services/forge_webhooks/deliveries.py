"""What a forge delivers: it is recorded here, and a task does what follows from it.

A delivery is only a hint that something has changed. What has is read from the forge, so deliveries may come in any order
and any number of times, and nothing that they say needs to be believed.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db, keys, queue
from app.errors import Conflict, TooMany, Unauthorized
from app.models import AgentRunner, ForgeDelivery, ForgeWebhook, Publication, Site
from app.models.states import ForgeDeliveryState, ForgeEvent, PullRequestState, Scope
from app.services import control_places, leases, lookup
from app.services.callers import Caller
from app.services.forge_webhooks import signatures
from app.services.forge_webhooks.mentions import mentions
from app.services.forge_webhooks.payloads import Notice, notice_of
from app.services.hooks.authenticity import Request
from app.services.publishing import pull_requests
from app.services.runners import agent_runners

MOST_PENDING = 100
"""Of one webhook."""
MOST_ATTEMPTS = 12
KEPT_SECONDS = 30 * 86_400.0
_PENDING = (ForgeDelivery.state == ForgeDeliveryState.PENDING,)
_ENDED = (ForgeDeliveryState.DONE, ForgeDeliveryState.IGNORED, ForgeDeliveryState.FAILED)
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 600.0


@dataclass(frozen=True)
class Received:
    """A request to a webhook: its JSON, and the forge's id of the delivery."""

    request: Request
    data: dict[str, Any]
    delivery_id: str


@dataclass(frozen=True)
class Claim:
    """A delivery that a worker holds. The check of the pull request is None if there is only an answer to be written."""

    delivery: ForgeDelivery
    webhook: ForgeWebhook
    site: Site
    check: pull_requests.Check | None


def authenticate(webhook_id: uuid.UUID, request: Request) -> uuid.UUID:
    """The account of the webhook. Raises `Unauthorized` unless there is such a webhook and the request is signed with its
    secret, and `SecretKeyChanged`."""
    webhook = _find(webhook_id)
    # Whether there is a webhook is not said to somebody without its secret.
    if webhook is None or not _is_authentic(webhook, request):
        message = "The request is not signed with the secret of this webhook. docs/forges.md says how to set it."
        raise Unauthorized(message, error_code="forge_webhook_secret_wrong")
    return webhook.account_id


def _is_authentic(webhook: ForgeWebhook, request: Request) -> bool:
    secret = keys.decrypt(webhook.secret_encrypted, "The secret of the site's forge webhook")
    return signatures.is_authentic(webhook.site.forge, request, secret)


def receive(webhook_id: uuid.UUID, received: Received) -> ForgeDelivery | None:
    """Record a delivery about the pull request of a runner, and dispatch it. None: it is about something else.

    One that was delivered before is returned as it is, and so is one about the same comment or review. One about a pull
    request that is still to be read has no effect: what it is about will be seen then.
    """
    authenticate(webhook_id, received.request)
    # Deliveries come one after the other, so that a repeat finds the first.
    webhook = db.session.scalars(
        lookup.locked(sa.select(ForgeWebhook).where(ForgeWebhook.id == webhook_id), ForgeWebhook)
    ).one()
    notice = notice_of(webhook.site.forge, received.request, received.data)
    if notice is None or not _is_followed(webhook, notice):
        return None
    runner = _find_runner(webhook.site, notice)
    number = notice.number if notice.event == ForgeEvent.ISSUE else (runner.pr_number if runner else None)
    if number is None:
        return None
    return record(webhook, notice, received.delivery_id, number, runner.id if runner else None)


def record(
    webhook: ForgeWebhook, notice: Notice, delivery_id: str, number: int, runner_id: uuid.UUID | None
) -> ForgeDelivery:
    """Record a delivery of a locked webhook, see `receive`. Raises `TooMany`."""
    if known := _find_known(webhook, delivery_id, notice):
        return known
    if notice.subject_id is None and (unread := _find_unread(webhook, notice.event, number)):
        if notice.event != ForgeEvent.PULL_REQUEST:
            leases.dispatch(unread, queue.FOLLOW_FORGE)
        return unread
    _refuse_many(webhook)
    delivery = ForgeDelivery(
        id=db.new_id(),
        account_id=webhook.account_id,
        webhook_id=webhook.id,
        delivery_id=delivery_id,
        event=notice.event,
        number=number,
        subject_id=notice.subject_id,
        agent_runner_id=runner_id,
        state=ForgeDeliveryState.PENDING,
        dispatches=0,
    )
    db.session.add(delivery)
    leases.dispatch(delivery, queue.FOLLOW_FORGE)
    db.session.flush()
    return delivery


def _is_followed(webhook: ForgeWebhook, notice: Notice) -> bool:
    if notice.event == ForgeEvent.ISSUE:
        if webhook.issue_label is None:
            return False
        is_labelled = webhook.issue_label.lower() in (each.lower() for each in notice.labels)
        return is_labelled or mentions(notice.text, webhook.trigger_name)
    return notice.subject_id is None or mentions(notice.text, webhook.trigger_name)


def _find_unread(webhook: ForgeWebhook, event: ForgeEvent, number: int) -> ForgeDelivery | None:
    """A delivery about the same pull request, its checks or the same issue, which are still to be read. What happens until
    then is read with them."""
    unread = (
        ForgeDelivery.webhook_id == webhook.id,
        ForgeDelivery.event == event,
        ForgeDelivery.number == number,
        ForgeDelivery.subject_id.is_(None),
        *_PENDING,
        ForgeDelivery.answer.is_(None),
        ForgeDelivery.lease_expires_at.is_(None),
    )
    return db.session.scalar(lookup.locked(sa.select(ForgeDelivery).where(*unread).limit(1), ForgeDelivery))


def _find_known(webhook: ForgeWebhook, delivery_id: str, notice: Notice) -> ForgeDelivery | None:
    same = ForgeDelivery.delivery_id == delivery_id
    if notice.subject_id is not None:
        about = (ForgeDelivery.event == notice.event, ForgeDelivery.subject_id == notice.subject_id)
        same = sa.or_(same, sa.and_(*about))
    return db.session.scalar(sa.select(ForgeDelivery).where(ForgeDelivery.webhook_id == webhook.id, same))


def _refuse_many(webhook: ForgeWebhook) -> None:
    pending = sa.select(sa.func.count()).where(ForgeDelivery.webhook_id == webhook.id, *_PENDING)
    if db.session.scalars(pending).one() >= MOST_PENDING:
        message = f"{MOST_PENDING} deliveries of this webhook wait to be processed. Deliver it again later."
        raise TooMany(message, error_code="queue_full", headers={"Retry-After": "60"})


def claim(delivery_id: uuid.UUID) -> Claim | None:
    """Claim a pending delivery. None: drop the message."""
    delivery = lock(delivery_id)
    if delivery is None or delivery.state != ForgeDeliveryState.PENDING or leases.is_live(delivery):
        return None
    runner = _lock_runner(delivery) if delivery.event != ForgeEvent.ISSUE and delivery.answer is None else None
    if not control_places.has_room(delivery.account_id):
        return None
    if leases.has_expired(delivery) and _lose_worker(delivery):
        return None
    leases.begin(delivery)
    check = pull_requests.begin_check(runner, delivery.number) if runner else None
    db.session.flush()
    db.session.refresh(delivery)
    webhook = db.session.get_one(ForgeWebhook, delivery.webhook_id)
    return Claim(delivery, webhook, webhook.site, check)


def _lock_runner(delivery: ForgeDelivery) -> AgentRunner:
    runner = sa.select(AgentRunner).where(AgentRunner.id == delivery.agent_runner_id)
    return db.session.scalars(lookup.locked(runner, AgentRunner)).one()


def succeed(claim: Claim, facts: pull_requests.PullRequestFacts) -> None:
    """Record what the forge shows, and end the delivery. Raises `LeaseLost`."""
    delivery = hold(claim)
    record_facts(claim, facts)
    webhook = db.session.get_one(ForgeWebhook, delivery.webhook_id)
    if facts.state == PullRequestState.MERGED and webhook.archive_merged:
        # If a session of the runner is active, somebody wants more of it.
        with contextlib.suppress(Conflict):
            agent_runners.archive(caller_of(webhook), delivery.its_runner.id)
    end(delivery, ForgeDeliveryState.DONE)


def record_facts(claim: Claim, facts: pull_requests.PullRequestFacts) -> None:
    """Record the state of the pull request that a claim asked for.

    This locks the runner, so no session can be created in the same transaction.
    """
    assert claim.check is not None
    pull_requests.record_check(claim.check, facts)


def caller_of(webhook: ForgeWebhook) -> Caller:
    """In whose name the deliveries do something."""
    return Caller(webhook.account_id, webhook.user_id, webhook.id, Scope.WRITE)


def fail(claim: Claim, error: str, *, retryable: bool) -> None:
    """End an attempt that failed: the delivery is tried again after a while, or has failed. Raises `LeaseLost`."""
    delivery = hold(claim)
    if retryable and delivery.attempt < MOST_ATTEMPTS:
        wait = min(_FIRST_RETRY_SECONDS * 2.0 ** (delivery.attempt - 1), _LONGEST_RETRY_SECONDS)
        leases.release(delivery, dispatch_in=wait)
    else:
        end(delivery, ForgeDeliveryState.FAILED, error)


def find_due(most: int) -> list[uuid.UUID]:
    """Deliveries whose worker was lost, and those due to be dispatched. The rows are not locked."""
    return [*leases.find_expired(ForgeDelivery, most), *leases.find_due(ForgeDelivery, most)]


def repair(delivery_id: uuid.UUID) -> None:
    """Dispatch a delivery that is due, or one whose worker was lost."""
    delivery = lock(delivery_id)
    if delivery is None or (leases.has_expired(delivery) and _lose_worker(delivery)):
        return
    if delivery.state == ForgeDeliveryState.PENDING and not leases.is_live(delivery):
        leases.dispatch(delivery, queue.FOLLOW_FORGE)


def forget_old() -> None:
    """Delete deliveries that are older than 30 days and have ended.

    Those of a comment, a review or a commit that was acted on stay as long as their webhook. What a forge signs has no time,
    so it is valid as long as the secret is, and a repeat has to find the first.
    """
    old = (ForgeDelivery.created_at < db.now(-KEPT_SECONDS), ForgeDelivery.state.in_(_ENDED))
    is_repeatable = sa.or_(ForgeDelivery.subject_id.is_not(None), ForgeDelivery.commit_sha.is_not(None))
    was_acted_on = sa.and_(ForgeDelivery.state != ForgeDeliveryState.IGNORED, is_repeatable)
    db.session.execute(sa.delete(ForgeDelivery).where(*old, sa.not_(was_acted_on)))


def _find(webhook_id: uuid.UUID) -> ForgeWebhook | None:
    """The webhook, unless its site is deleted."""
    query = sa.select(ForgeWebhook).join(Site, Site.id == ForgeWebhook.site_id)
    return db.session.scalar(query.where(ForgeWebhook.id == webhook_id, Site.deleted_at.is_(None)))


def _find_runner(site: Site, notice: Notice) -> AgentRunner | None:
    """The runner of the site whose pull request the notice is about. None: there is none, or it is about an issue."""
    if notice.event == ForgeEvent.ISSUE:
        return None
    mine = (AgentRunner.account_id == site.account_id, AgentRunner.site_id == site.id)
    if notice.number is None:
        pushed = sa.select(Publication.agent_runner_id).where(Publication.pushed_sha == notice.commit)
        is_there = sa.or_(AgentRunner.pr_branch.in_(notice.branches), AgentRunner.id.in_(pushed))
        is_about = sa.and_(AgentRunner.pr_number.is_not(None), is_there)
    else:
        is_about = AgentRunner.pr_number == notice.number
    newest = sa.select(AgentRunner).where(*mine, is_about).order_by(AgentRunner.created_at.desc())
    return db.session.scalar(newest.limit(1))


def lock(delivery_id: uuid.UUID) -> ForgeDelivery | None:
    """A delivery, locked. Runners are locked after it."""
    mine = sa.select(ForgeDelivery).where(ForgeDelivery.id == delivery_id)
    return db.session.scalar(lookup.locked(mine, ForgeDelivery))


def hold(claim: Claim) -> ForgeDelivery:
    """The claimed delivery, locked; raises `LeaseLost` if the attempt no longer holds it."""
    delivery = lock(claim.delivery.id)
    leases.check_held(delivery, claim.delivery.attempt)
    assert delivery is not None
    return delivery


def _lose_worker(delivery: ForgeDelivery) -> bool:
    """End the lease of a lost worker. True: too many were lost, so the delivery has failed."""
    if not leases.lose_worker(delivery):
        return False
    end(delivery, ForgeDeliveryState.FAILED, f"{delivery.workers_lost} workers were lost while processing this.")
    return True


def end(delivery: ForgeDelivery, state: ForgeDeliveryState, error: str | None = None) -> None:
    """End a locked delivery. What was only needed until then is forgotten."""
    delivery.prompt = delivery.answer = None
    delivery.state, delivery.error = state, error
    leases.release(delivery)
