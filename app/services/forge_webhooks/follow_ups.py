"""Follow-ups that people ask for on the forge: the request is read, a session does it, its work is pushed to the same pull
request, and the person is answered there."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa

from app import db, queue
from app.errors import AppError, TooMany
from app.escaping import inert, one_line, sendable
from app.models import AgentRunner, AgentRunnerSession, ForgeDelivery, ForgeWebhook, Publication
from app.models.states import (
    ACTIVE,
    ForgeDeliveryState,
    ForgeEvent,
    PublicationKind,
    PublicationState,
    RunnerState,
    SessionState,
)
from app.services import leases
from app.services.forge_webhooks import deliveries
from app.services.forge_webhooks.deliveries import Claim
from app.services.forge_webhooks.mentions import Remarks
from app.services.publishing import publication_attempts, publications
from app.services.runners import agent_runner_sessions
from app.services.runners.creation import FollowUp
from app.services.sites import site_secrets

MOST_WAITING = 20
"""Requests that wait for one runner."""
_RESULT_CHARACTERS, _MOST_NAMED = 5_000, 20
_TO_GO_ON = (ForgeDeliveryState.WAITING, ForgeDeliveryState.STARTED)


def begin(claim: Claim, remarks: Remarks) -> None:
    """Create the follow-up that somebody asks for, or let it wait for the runner. Raises `LeaseLost`."""
    delivery = deliveries.hold(claim)
    webhook = db.session.get_one(ForgeWebhook, delivery.webhook_id)
    delivery.author = remarks.author[:200]
    if reason := remarks.reason_to_ignore(webhook):
        deliveries.end(delivery, ForgeDeliveryState.IGNORED, reason)
        return
    leases.release(delivery)
    if remarks.head_sha not in publication_attempts.own_shas(delivery.its_runner.id, delivery.its_runner.pr_branch):
        answer(delivery, "The branch has commits that I did not make, so I do not change it.")
    elif _count_waiting(delivery) >= MOST_WAITING:
        answer(delivery, f"{MOST_WAITING} requests are waiting already. Please ask again later.")
    else:
        delivery.prompt = site_secrets.secrets_of(claim.site).redact(remarks.prompt)
        start(webhook, delivery)


def find_ready(limit: int) -> list[uuid.UUID]:
    """Requests that can continue because a session or a publication has ended: of each account the oldest, then the next.

    Those whose runner is at work are left out, so they delay no others, however many they are.
    """
    is_at_work = sa.or_(AgentRunner.state.in_((RunnerState.NEW, RunnerState.RUNNING)), AgentRunner.pr_is_being_created)
    turn = sa.func.row_number().over(partition_by=ForgeDelivery.account_id, order_by=ForgeDelivery.created_at)
    ready = (
        sa.select(ForgeDelivery.id)
        .join(AgentRunner, AgentRunner.id == ForgeDelivery.agent_runner_id)
        .where(ForgeDelivery.state.in_(_TO_GO_ON), sa.not_(is_at_work))
    )
    return list(db.session.scalars(ready.order_by(turn, ForgeDelivery.created_at).limit(limit)))


def go_on(delivery_id: uuid.UUID, doubtful: Sequence[str] = ()) -> None:
    """Start the session of a request, publish its work, or answer, whichever is next. Work on `doubtful` files is not
    published."""
    delivery = deliveries.lock(delivery_id)
    if delivery is None or delivery.state not in _TO_GO_ON:
        return
    webhook = db.session.get_one(ForgeWebhook, delivery.webhook_id)
    if delivery.state == ForgeDeliveryState.WAITING:
        start(webhook, delivery)
    elif delivery.publication_id is None:
        _publish(webhook, delivery, doubtful)
    else:
        _report(delivery, db.session.get_one(Publication, delivery.publication_id))


def answered(claim: Claim) -> None:
    """Go on with a request whose answer is on the forge: it ends, unless only its beginning was reported. Raises
    `LeaseLost`."""
    delivery = deliveries.hold(claim)
    if delivery.answer_is_interim:
        leases.release(delivery)
        delivery.answer, delivery.answer_is_interim, delivery.state = None, False, ForgeDeliveryState.STARTED
    else:
        deliveries.end(delivery, ForgeDeliveryState.DONE)


def start(webhook: ForgeWebhook, delivery: ForgeDelivery) -> None:
    """Create the session of a locked delivery for its prompt, or let it wait for the runner."""
    assert delivery.prompt is not None
    delivery.state = ForgeDeliveryState.WAITING
    if not _is_next(delivery):
        return
    if delivery.commit_sha and not publication_attempts.is_head(delivery.its_runner, delivery.commit_sha):
        deliveries.end(delivery, ForgeDeliveryState.IGNORED, "The runner has newer work than the commit.")
        return
    try:
        # No one would see its questions on the forge.
        new = FollowUp(prompt=delivery.prompt, may_ask=False, quotes_others=True, requested_by=delivery.author)
        session = agent_runner_sessions.create(deliveries.caller_of(webhook), delivery.its_runner.id, new, {})
    except TooMany:
        # It keeps waiting, now for room in the queue or for a budget.
        return
    except AppError as error:
        if error.error_code != "active_session_exists":
            deliveries.end(delivery, ForgeDeliveryState.FAILED, error.message)
    else:
        delivery.state, delivery.session_id, delivery.prompt = ForgeDeliveryState.STARTED, session.id, None


def _is_next(delivery: ForgeDelivery) -> bool:
    """Whether no earlier request to the runner is still to be done or answered."""
    is_earlier = sa.and_(
        ForgeDelivery.state == ForgeDeliveryState.WAITING, ForgeDelivery.created_at < delivery.created_at
    )
    before = sa.exists().where(
        ForgeDelivery.agent_runner_id == delivery.agent_runner_id,
        ForgeDelivery.id != delivery.id,
        sa.or_(ForgeDelivery.state == ForgeDeliveryState.STARTED, is_earlier),
    )
    return not db.session.scalar(sa.select(before))


def _publish(webhook: ForgeWebhook, delivery: ForgeDelivery, doubtful: Sequence[str]) -> None:
    """Push the work of the session that has ended, or answer why there is none."""
    session = db.session.get_one(AgentRunnerSession, delivery.session_id)
    if session.state in ACTIVE:
        return
    if session.state == SessionState.CANCELLED:
        answer(delivery, "The session was stopped, so nothing has changed.")
    elif session.state == SessionState.ERROR:
        answer(delivery, f"The session failed: {_of_agent(session, (session.failure or {}).get('message', ''))}")
    elif session.is_discarded:
        answer(delivery, "The work was discarded, so nothing has changed.")
    elif not session.has_result_diff:
        answer(delivery, f"I changed nothing.\n\n{_of_agent(session, session.result or '')}".strip())
    elif doubtful:
        answer(delivery, f"{_held_up(doubtful)}\n\n{_of_agent(session, session.result or '')}".strip())
    else:
        try:
            publications.request_pull_request(deliveries.caller_of(webhook), delivery.its_runner.id, {})
        except AppError as error:
            if error.error_code != "pull_request_in_progress":
                answer(delivery, f"The work could not be pushed: {error.message}")
            return
        pending = sa.select(Publication.id).where(
            Publication.agent_runner_id == delivery.agent_runner_id,
            Publication.kind == PublicationKind.PULL_REQUEST,
            Publication.state == PublicationState.PENDING,
        )
        delivery.publication_id = db.session.scalars(pending).one()


def _report(delivery: ForgeDelivery, publication: Publication) -> None:
    session = db.session.get_one(AgentRunnerSession, delivery.session_id)
    if publication.state == PublicationState.FAILED:
        answer(delivery, f"The work could not be pushed: {inert(publication.error or '')}")
    elif publication.state == PublicationState.DONE:
        place = delivery.its_runner.pr_url if delivery.event == ForgeEvent.ISSUE else publication.pushed_sha
        answer(delivery, f"Done in {place}.\n\n{_of_agent(session, session.result or '')}".strip())


def _held_up(doubtful: Sequence[str]) -> str:
    named = ", ".join(one_line(path) for path in doubtful[:_MOST_NAMED]) + (
        " and more" if len(doubtful) > _MOST_NAMED else ""
    )
    return (
        f"I have a change, but it configures checks, or deletes or shortens tests: {inert(named)}. So I have not pushed it. "
        "Look at it in Agent Runners, and publish or discard it there."
    )


def _of_agent(session: AgentRunnerSession, text: str) -> str:
    """What an agent said, for the forge, without known secrets."""
    runner = db.session.get_one(AgentRunner, session.agent_runner_id)
    text = sendable(site_secrets.secrets_of(runner.site).redact(text)).strip()
    return inert(text if len(text) <= _RESULT_CHARACTERS else f"{text[:_RESULT_CHARACTERS]}…")


def answer(delivery: ForgeDelivery, text: str) -> None:
    """Have a comment written, to the person who asked if there is one."""
    to = f"@{delivery.author} " if delivery.author else ""
    delivery.state, delivery.answer = ForgeDeliveryState.PENDING, f"{to}{text}"
    leases.dispatch(delivery, queue.FOLLOW_FORGE)


def _count_waiting(delivery: ForgeDelivery) -> int:
    waiting = (
        ForgeDelivery.agent_runner_id == delivery.agent_runner_id,
        ForgeDelivery.state == ForgeDeliveryState.WAITING,
    )
    return db.session.scalars(sa.select(sa.func.count()).where(*waiting)).one()
