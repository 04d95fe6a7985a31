"""What a receiver that asked for steps gets: the new ones of a session together, in order, and not too often."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunner, AgentRunnerSession, WebhookDelivery
from app.models.states import PublicationKind, PublicationState, SessionState
from app.services import events
from app.services.execution import progress, session_attempts
from app.services.execution.outcomes import Outcome
from app.services.execution.progress import Step
from app.services.webhooks import steps, webhooks
from app.services.webhooks.webhooks import WebhookFields
from tasks.webhooks import deliver_webhook
from tests.tasks.test_webhooks import ada, due, get, hook, receiver  # noqa: F401 - fixtures


@pytest.fixture
def start(ask: Callable[..., uuid.UUID]) -> Callable[[], uuid.UUID]:
    def start() -> uuid.UUID:
        session_id = ask("true")
        with db.transaction():
            assert session_attempts.claim(session_id, "task")
        return session_id

    return start


def step(session_id: uuid.UUID, *titles: str) -> None:
    with db.transaction():
        progress.record(session_id, 1, [Step(title, "Said.") for title in titles])


def finish(session_id: uuid.UUID) -> None:
    with db.transaction():
        session_attempts.finish(session_id, 1, SessionState.DONE, Outcome())


def deliver(webhook_id: uuid.UUID) -> None:
    """Deliver all that is due, although a task on a slow machine ends before that."""
    deliver_webhook(str(webhook_id))
    while get(webhook_id).next_dispatch_at is not None:
        deliver_webhook(str(webhook_id))


def have_news() -> list[uuid.UUID]:
    """The webhooks with steps to deliver."""
    with db.transaction(read_only=True):
        return steps.find_with_news(100)


def set_age(seconds: float) -> None:
    """As if the last deliveries had begun that long ago, however slow the machine is."""
    with db.transaction():
        db.session.execute(sa.update(WebhookDelivery).values(created_at=db.now(-seconds)))


def test_new_steps_of_a_session_come_together_once_and_before_its_end(hook, receiver, start):  # noqa: F811
    webhook_id = hook(events=["session.started", "session.step", "session.done"])
    session_id = start()
    step(session_id, "one", "two")
    deliver(webhook_id)
    assert receiver.types == ["session.started", "session.step"]
    data = receiver.got[1]["data"]
    assert (data["session_id"], data["steps_count"]) == (str(session_id), 2) and "steps" not in data
    assert data["url"].endswith(f"/agent_runners/{data['agent_runner_id']}/sessions/{session_id}")
    step(session_id, "three")
    set_age(-3600)
    assert have_news() == [], "not so soon"
    deliver(webhook_id)
    assert len(receiver.got) == 2
    set_age(steps.SECONDS + 1)
    assert have_news() == due() == [webhook_id]
    deliver(webhook_id)
    step(session_id, "four")
    finish(session_id)
    deliver(webhook_id)
    assert receiver.types[2:] == ["session.step", "session.step", "session.done"]
    counts = [(each["data"]["first_seq"], each["data"]["last_seq"]) for each in receiver.got[1:-1]]
    assert [first > last for (_, last), (first, _) in itertools.pairwise(counts)] == [True, True]
    assert sum(each["data"]["steps_count"] for each in receiver.got[1:-1]) == 4 and due() == []


def test_only_webhooks_that_name_steps_get_them(hook, receiver, start):  # noqa: F811
    everything_else = hook()
    session_id = start()
    deliver(everything_else)
    step(session_id, "one")
    assert have_news() == due() == []
    finish(session_id)
    deliver(everything_else)
    assert receiver.types == ["session.started", "session.done"]


def test_a_webhook_for_steps_alone_gets_the_last_ones_too(hook, receiver, start):  # noqa: F811
    webhook_id = hook(events=["session.step"], full=True)
    session_id = start()
    step(session_id, "one", "two")
    finish(session_id)
    assert due() == [webhook_id]
    deliver(webhook_id)
    [message] = receiver.got
    assert [(each["title"], each["message"]) for each in message["data"]["steps"]] == [
        ("one", "Said."),
        ("two", "Said."),
    ]
    assert message["data"]["steps_left_out"] == 0


def test_a_full_delivery_is_bounded_and_says_what_it_leaves_out(hook, receiver, start):  # noqa: F811
    webhook_id = hook(events=["session.step"], full=True)
    session_id = start()
    step(session_id, *(f"step {n}" for n in range(steps.MOST_SHOWN + 20)))
    deliver(webhook_id)
    data = receiver.got[0]["data"]
    assert (len(data["steps"]), data["steps_count"], data["steps_left_out"]) == (
        steps.MOST_SHOWN,
        steps.MOST_SHOWN + 20,
        20,
    )


def test_what_was_not_taken_is_sent_again_the_same_before_what_follows(hook, receiver, start):  # noqa: F811
    webhook_id = hook(events=["session.step", "session.done"])
    session_id = start()
    receiver.statuses = [500, 204]
    step(session_id, "one")
    deliver_webhook(str(webhook_id))
    step(session_id, "two")
    finish(session_id)
    deliver(webhook_id)
    assert receiver.types == ["session.step", "session.step", "session.step", "session.done"]
    assert receiver.ids[0] == receiver.ids[1] != receiver.ids[2] and receiver.got[0] == receiver.got[1]


def test_steps_are_sent_once_more_when_somebody_asks(hook, receiver, start):  # noqa: F811
    webhook_id = hook(events=["session.step"])
    session_id = start()
    step(session_id, "one")
    deliver(webhook_id)
    with db.transaction():
        webhooks.replay(ada(), webhook_id, db.session.scalars(sa.select(WebhookDelivery.id)).one())
    deliver(webhook_id)
    assert receiver.got[0] == receiver.got[1] and receiver.ids[0] == receiver.ids[1] and len(receiver.got) == 2


def test_steps_from_before_they_were_asked_for_are_not_sent(hook, receiver, start):  # noqa: F811
    webhook_id = hook(events=["session.done"])
    session_id = start()
    step(session_id, "one")
    with db.transaction():
        webhooks.update(ada(), webhook_id, WebhookFields(events=["session.step"]))
    step(session_id, "two")
    finish(session_id)
    deliver(webhook_id)
    [message] = receiver.got
    assert message["data"]["steps_count"] == 1


def test_steps_do_not_come_again_with_a_publication_after_their_deliveries_are_forgotten(hook, receiver, start):  # noqa: F811
    webhook_id = hook(events=["session.step", "publication.succeeded"])
    session_id = start()
    step(session_id, "one")
    finish(session_id)
    deliver(webhook_id)
    with db.transaction():
        db.session.execute(sa.delete(WebhookDelivery))
        session = db.session.get_one(AgentRunnerSession, session_id)
        runner = db.session.get_one(AgentRunner, session.agent_runner_id)
        events.record_publication(runner, PublicationKind.PULL_REQUEST, PublicationState.DONE, session_id)
    deliver(webhook_id)
    assert receiver.types == ["session.step", "publication.succeeded"]
