"""Runners that people start by an issue: by its label, or by mentioning the trigger name."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from app import db, queue
from app.errors import AppError, TooMany
from app.escaping import inert, one_line
from app.models import AgentRunner, ForgeDelivery, ForgeWebhook
from app.models.states import ForgeDeliveryState
from app.services import leases
from app.services.forge_webhooks import deliveries, follow_ups
from app.services.forge_webhooks.deliveries import Claim
from app.services.forge_webhooks.mentions import mentions
from app.services.runners import agent_runners
from app.services.runners.agent_runners import Prepared
from app.services.runners.creation import NewRunner
from app.services.sites import site_secrets

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 60.0, 3600.0
"""How long a full queue or a used budget is waited for."""
_TITLE_CHARACTERS = 200


@dataclass(frozen=True)
class IssueRequest:
    """What somebody asks for on an issue, as the forge shows it now. Without an author nobody is known to ask."""

    author: str | None
    is_person: bool
    may_write: bool | None
    text: str
    """What the author wrote. None is needed of somebody who labelled the issue."""
    is_labelled: bool
    is_open: bool
    title: str
    prompt: str

    def reason_to_ignore(self, webhook: ForgeWebhook) -> str | None:
        """Why nothing is done for it, if that is so."""
        if webhook.issue_label is None:
            return "Issues are not followed."
        if not self.is_open:
            return "The issue is closed."
        if not self.is_person or self.author is None:
            return "It is not known that a person asks for this."
        if not self.is_labelled and not mentions(self.text, webhook.trigger_name):
            return f"The issue has neither the label {webhook.issue_label} nor a mention of {webhook.trigger_name}."
        return webhook.reason_to_refuse(self.author, self.may_write)


def begin(claim: Claim, request: IssueRequest) -> None:
    """Create the runner that somebody asks for, unless the issue has one. Raises `LeaseLost`."""
    delivery = deliveries.hold(claim)
    webhook = db.session.get_one(ForgeWebhook, delivery.webhook_id)
    delivery.author = request.author[:200] if request.author else None
    # Two deliveries about one issue may be read at once. Only the first creates a runner.
    db.lock(f"issue {delivery.number} of {webhook.site_id}")
    if reason := request.reason_to_ignore(webhook):
        deliveries.end(delivery, ForgeDeliveryState.IGNORED, reason)
    elif runner := _find_runner(webhook, delivery.number):
        _point_to(delivery, runner)
    else:
        leases.release(delivery)
        _create(webhook, delivery, request)


def _find_runner(webhook: ForgeWebhook, number: int) -> AgentRunner | None:
    of_issue = (AgentRunner.site_id == webhook.site_id, AgentRunner.issue_number == number)
    return db.session.scalar(sa.select(AgentRunner).where(*of_issue).limit(1))


def _point_to(delivery: ForgeDelivery, runner: AgentRunner) -> None:
    """Answer a further request on an issue that has a runner. A label that is delivered again is no request."""
    delivery.agent_runner_id = runner.id
    if delivery.subject_id is None:
        deliveries.end(delivery, ForgeDeliveryState.IGNORED, "The issue has a runner already.")
        return
    leases.release(delivery)
    place = f"on {runner.pr_url}" if runner.pr_url else "on its pull request, once there is one"
    follow_ups.answer(delivery, f"I have worked on this issue already. Please ask me {place}.")


def _create(webhook: ForgeWebhook, delivery: ForgeDelivery, request: IssueRequest) -> None:
    new = NewRunner(
        site_id=webhook.site_id,
        prompt=site_secrets.secrets_of(webhook.site).redact(request.prompt),
        title=inert(one_line(request.title))[:_TITLE_CHARACTERS] or None,
        issue_number=delivery.number,
        # Nobody would see its questions on the forge.
        may_ask=False,
        quotes_others=True,
        requested_by=delivery.author,
    )
    try:
        runner, session = agent_runners.create(deliveries.caller_of(webhook), new, Prepared())
    except TooMany:
        wait = FIRST_WAIT_SECONDS * 2.0 ** min(delivery.attempt - 1, 30)
        leases.release(delivery, dispatch_in=min(wait, LONGEST_WAIT_SECONDS))
    except AppError as error:
        follow_ups.answer(delivery, f"I could not start: {inert(error.message)}")
    else:
        delivery.agent_runner_id, delivery.session_id = runner.id, session.id
        delivery.answer, delivery.answer_is_interim = "I am working on this.", True
        leases.dispatch(delivery, queue.FOLLOW_FORGE)
