"""What a receiver gets, however it and the workers behave."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from standardwebhooks import Webhook as Verifier

from app import db
from app.models import Event, LastRun, User, Webhook, WebhookDelivery
from app.models.states import Scope, SessionState
from app.services import last_runs
from app.services.callers import Caller
from app.services.execution import session_attempts
from app.services.execution.outcomes import Outcome
from app.services.webhooks import deliveries, webhooks
from app.services.webhooks.webhooks import WebhookFields
from tasks.webhooks import deliver_webhook


@dataclass
class Receiver:
    """Answers with `statuses`, the last of them for ever, and keeps what it verified."""

    statuses: list[int] = field(default_factory=lambda: [204])
    secrets: list[str] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.got]


@pytest.fixture
def receiver(configure: Callable[..., None]) -> Iterator[Receiver]:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    known = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for secret in known.secrets:
                Verifier(secret).verify(body, dict(self.headers))
            known.got.append(json.loads(body))
            known.ids.append(self.headers["webhook-id"])
            status = known.statuses.pop(0) if len(known.statuses) > 1 else known.statuses[0]
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if status == 302:
                self.send_header("Location", "http://169.254.169.254/")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known.url = f"http://127.0.0.1:{server.server_address[1]}/in?from=us"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield known
        server.shutdown()


@pytest.fixture
def end(ask: Callable[..., uuid.UUID]) -> Callable[..., uuid.UUID]:
    """Run a session to an end; its id."""

    def end(state: SessionState = SessionState.DONE) -> uuid.UUID:
        session_id = ask("true")
        with db.transaction():
            claim = session_attempts.claim(session_id, "task")
        assert claim
        with db.transaction():
            session_attempts.finish(session_id, 1, state, Outcome())
        return session_id

    return end


@pytest.fixture
def hook(ask: Callable[..., uuid.UUID], receiver: Receiver) -> Callable[..., uuid.UUID]:
    """Make a webhook that sends to the receiver; its id."""

    def make(**fields: Any) -> uuid.UUID:
        with db.transaction():
            webhook, secret = webhooks.create(ada(), WebhookFields(**{"url": receiver.url, **fields}))
        receiver.secrets = [secret]
        return webhook.id

    return make


def ada() -> Caller:
    """The administrator of the only account."""
    user = db.session.scalars(sa.select(User)).one()
    return Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)


def get(webhook_id: uuid.UUID) -> Webhook:
    with db.transaction(read_only=True):
        return db.session.get_one(Webhook, webhook_id)


def change(webhook_id: uuid.UUID, **values: Any) -> None:
    with db.transaction():
        db.session.execute(sa.update(Webhook).where(Webhook.id == webhook_id).values(**values))


def due() -> list[uuid.UUID]:
    with db.transaction(read_only=True):
        return deliveries.find_due(100)


def again(webhook_id: uuid.UUID) -> None:
    """Deliver without waiting for the next try."""
    change(webhook_id, next_dispatch_at=db.now(-1))
    deliver_webhook(str(webhook_id))


def test_events_arrive_in_their_order_signed_and_once(hook, end, receiver):
    webhook_id = hook()
    assert due() == []
    first, second = end(), end(SessionState.ERROR)
    assert due() == [webhook_id]
    deliver_webhook(str(webhook_id))
    assert receiver.types == ["session.started", "session.done", "session.started", "session.error"]
    assert [message["data"]["session_id"] for message in receiver.got] == [str(first)] * 2 + [str(second)] * 2
    assert receiver.got[1]["data"]["state"] == "DONE" and len(set(receiver.ids)) == 4
    assert due() == []
    deliver_webhook(str(webhook_id))
    assert len(receiver.got) == 4


def test_only_what_was_chosen_is_sent(hook, end, receiver):
    webhook_id = hook(events=["session.error"])
    end(), end(SessionState.ERROR), end()
    deliver_webhook(str(webhook_id))
    assert receiver.types == ["session.error"] and due() == []


@pytest.mark.parametrize("answer", [500, 302, 404])
def test_what_is_not_answered_with_success_is_sent_again_before_all_else(hook, end, receiver, answer):
    webhook_id = hook(events=["session.done"])
    receiver.statuses = [answer, answer, 204]
    end(), end()
    for tries in (1, 2):
        again(webhook_id)
        assert len(receiver.got) == tries and get(webhook_id).failing_since
        assert due() == [], "not at once"
    again(webhook_id)
    assert receiver.ids[0] == receiver.ids[1] == receiver.ids[2] != receiver.ids[3] and len(receiver.ids) == 4
    assert get(webhook_id).failing_since is None


def test_a_worker_that_is_lost_after_it_sent_has_the_event_sent_again(hook, end, receiver):
    webhook_id = hook(events=["session.done"])
    end()
    with db.transaction():
        attempt = deliveries.claim(webhook_id)
    with db.transaction():
        message = deliveries.next_message(webhook_id, attempt)
    deliver_webhook(str(webhook_id))
    assert receiver.got == [], "it is held"
    change(webhook_id, lease_expires_at=db.now(-1))
    assert due() == [webhook_id]
    deliver_webhook(str(webhook_id))
    assert receiver.ids == [str(message.event_id)]
    with pytest.raises(deliveries.leases.LeaseLost), db.transaction():
        deliveries.record(webhook_id, attempt, message, deliveries.Answer(204))


def test_an_event_is_given_up_after_a_day_and_the_webhook_after_a_week(hook, end, receiver):
    webhook_id = hook(events=["session.done"])
    receiver.statuses = [500]
    end(), end()
    deliver_webhook(str(webhook_id))
    with db.transaction():
        db.session.execute(sa.update(WebhookDelivery).values(created_at=db.now(-deliveries.EVENT_SECONDS - 60)))
    again(webhook_id)
    with db.transaction(read_only=True):
        states = list(db.session.scalars(sa.select(WebhookDelivery.state).order_by(WebhookDelivery.created_at)))
    assert states == ["failed", "pending"] and len(set(receiver.ids)) == 2
    change(webhook_id, failing_since=db.now(-deliveries.DISABLED_AFTER_SECONDS - 60))
    again(webhook_id)
    assert get(webhook_id).state == "disabled" and "a week" in get(webhook_id).disabled_reason and due() == []


def test_a_receiver_that_is_gone_is_left_alone(hook, end, receiver):
    webhook_id = hook()
    receiver.statuses = [410]
    end()
    deliver_webhook(str(webhook_id))
    assert get(webhook_id).state == "disabled" and len(receiver.got) == 1


def test_a_receiver_that_cannot_be_reached_is_named_and_holds_nobody_up(hook, end, receiver, configure):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    dead, alive = hook(url=closed, events=["session.done"]), hook(events=["session.done"])
    end()
    assert set(due()) == {dead, alive}
    deliver_webhook(str(dead))
    deliver_webhook(str(alive))
    assert receiver.types == ["session.done"]
    configure(ALLOW_PRIVATE_ADDRESSES="false")
    again(dead)
    with db.transaction(read_only=True):
        error = db.session.scalar(sa.select(WebhookDelivery.error).where(WebhookDelivery.webhook_id == dead))
    assert error == "The host of the URL has an address that workers do not connect to."


def test_an_event_is_sent_once_more_when_somebody_asks(hook, end, receiver):
    webhook_id = hook(events=["session.done"])
    end()
    deliver_webhook(str(webhook_id))
    with db.transaction():
        delivery_id = db.session.scalars(sa.select(WebhookDelivery.id)).one()
        webhooks.replay(ada(), webhook_id, delivery_id)
    assert due() == [webhook_id]
    deliver_webhook(str(webhook_id))
    assert len(receiver.ids) == 2 and len(set(receiver.ids)) == 1 and due() == []


def test_a_webhook_without_news_is_left_alone_and_none_is_forgotten(hook, end, receiver):
    webhook_id = hook(events=["session.done"])
    end()
    with db.transaction():
        last_runs.record(last_runs.SWEEP)
    assert due() == [webhook_id]
    deliver_webhook(str(webhook_id))
    assert due() == []
    with db.transaction():
        db.session.execute(sa.update(Event).values(created_at=db.now(-86_400)))
    change(webhook_id, position=f"0-{uuid.UUID(int=0).hex}")
    assert due() == [], "a sweep has run since"
    with db.transaction():
        db.session.execute(sa.update(LastRun).values(at=db.now(-2 * 86_400)))
    assert due() == [webhook_id]


def test_what_was_not_delivered_is_not_sent_when_a_webhook_is_active_again(hook, end, receiver):
    webhook_id = hook(events=["session.done"])
    receiver.statuses = [500]
    end()
    deliver_webhook(str(webhook_id))
    for active in (False, True):
        with db.transaction():
            webhooks.update(ada(), webhook_id, WebhookFields(active=active))
    receiver.statuses = [204]
    deliver_webhook(str(webhook_id))
    assert len(receiver.got) == 1, "only the events from then on"


def test_both_secrets_are_good_for_a_day(hook, end, receiver):
    webhook_id = hook(events=["session.done"])
    with db.transaction():
        _, new = webhooks.rotate_secret(ada(), webhook_id)
    receiver.secrets.append(new)
    end()
    deliver_webhook(str(webhook_id))
    assert receiver.types == ["session.done"]
    change(webhook_id, previous_secret_until=db.now(-1))
    receiver.secrets = [new]
    end()
    with structlog.testing.capture_logs() as lines:
        deliver_webhook(str(webhook_id))
    assert len(receiver.got) == 2 and new not in str(lines)
