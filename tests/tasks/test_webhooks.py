"""What a receiver gets, however it and the workers behave."""

from __future__ import annotations

import json
import socket
import struct
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

from app import db, queue
from app.models import Event, LastRun, User, Webhook, WebhookDelivery
from app.models.states import BudgetPeriod, Scope, SessionState
from app.services import last_runs
from app.services.accounts import accounts
from app.services.budgets import budgets
from app.services.budgets.budgets import BudgetFields, Whose
from app.services.callers import Caller
from app.services.execution import exhaustion, progress, session_attempts
from app.services.execution.outcomes import Outcome
from app.services.execution.progress import BudgetWarning, Usage
from app.services.webhooks import deliveries, webhooks
from app.services.webhooks.webhooks import WebhookFields
from tasks.webhooks import deliver_webhook
from tests.listening import Listener
from tests.services.conftest import listening


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


def test_a_chat_gets_sentences_in_its_own_form(hook, end, receiver):
    for form in ("slack", "ntfy"):
        webhook_id = hook(format=form, events=["session.error"])
        end(SessionState.ERROR)
        deliver_webhook(str(webhook_id))
    slack, ntfy = receiver.got
    assert slack["text"].startswith("*Failed*\ntrue\n") and "/runners/" in slack["text"]
    assert (ntfy["topic"], ntfy["title"], ntfy["message"]) == ("in", "Failed", "true")


def test_only_what_was_chosen_is_sent(hook, end, receiver):
    webhook_id = hook(events=["session.error"])
    end(), end(SessionState.ERROR), end()
    deliver_webhook(str(webhook_id))
    assert receiver.types == ["session.error"] and due() == []


def test_most_of_a_budget_is_used_once_in_a_session_and_once_in_a_period(hook, ask, receiver):
    webhook_id = hook(events=["budget.warning"])
    with db.transaction():
        monthly = budgets.create(ada(), Whose(), BudgetPeriod.MONTH, BudgetFields(max_tokens=1000)).budget.id
    for session_id in (ask("true"), ask("true")):
        with db.transaction():
            claim = session_attempts.claim(session_id, "task")
        assert claim
        for used in (450, 475, 475):
            with db.transaction():
                progress.record(session_id, 1, [Usage({"input_tokens": used}), BudgetWarning("Its own.")])
                exhaustion.check(claim.session)
    deliver_webhook(str(webhook_id))
    said = [(each["data"]["budget"], each["data"]["budget_id"], each["data"]["message"]) for each in receiver.got]
    assert said == [
        ("session", None, "Its own."),
        ("session", None, "Its own."),
        ("account", str(monthly), "The budget of the account for this month: 925 of 1,000 tokens are used."),
    ]


def test_a_budget_that_is_used_up_at_once_is_warned_of_too(hook, ask, receiver):
    webhook_id = hook(events=["budget.warning", "session.error"])
    with db.transaction():
        budgets.create(ada(), Whose(), BudgetPeriod.MONTH, BudgetFields(max_tokens=1000))
    session_id = ask("true")
    with db.transaction():
        claim = session_attempts.claim(session_id, "task")
        assert claim
        progress.record(session_id, 1, [Usage({"input_tokens": 1000})])
        exhaustion.check(claim.session)
    deliver_webhook(str(webhook_id))
    assert receiver.types == ["budget.warning", "session.error"]


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


def _reset(connection: socket.socket) -> None:
    with connection:
        connection.recv(1)
        # Closed with unread data and without waiting, it is reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_receiver_that_breaks_off_gets_the_event_again(hook, end, receiver):
    with Listener(_reset) as breaking:
        webhook_id = hook(url=f"http://127.0.0.1:{breaking.port}/", events=["session.done"])
        end()
        deliver_webhook(str(webhook_id))
    with db.transaction():
        delivery = db.session.scalars(sa.select(WebhookDelivery)).one()
        assert (delivery.state, delivery.status) == ("pending", None) and "did not answer" in delivery.error
        webhooks.update(ada(), webhook_id, WebhookFields(url=receiver.url))
    again(webhook_id)
    assert receiver.ids == [str(delivery.event_id)]


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


def test_a_secret_of_another_key_is_named_where_its_owner_looks(hook, end, receiver, configure):
    webhook_id = hook(events=["session.done"])
    end()
    configure(SECRET_KEY="another key for tests, which is long enough")
    deliver_webhook(str(webhook_id))
    with db.transaction(read_only=True):
        delivery = db.session.scalars(sa.select(WebhookDelivery)).one()
    assert "The webhook's secret" in delivery.error and "AGENT_RUNNERS_SECRET_KEY" in delivery.error
    assert get(webhook_id).next_dispatch_at is not None and not receiver.got


def test_the_webhooks_of_an_account_have_their_share_of_the_workers(hook, end, receiver, configure):
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true", BROKER_URL="memory://")
    held, beside, waiting = hook(), hook(), hook()
    receiver.secrets = []
    end()
    with db.transaction():
        for each in (held, beside, waiting):
            deliveries.repair(each)
    with db.transaction():
        assert deliveries.claim(held) and deliveries.claim(beside)
        assert deliveries.claim(waiting) is None
    change(beside, lease_expires_at=None)
    with listening(queue.CONTROL) as enqueued:
        deliver_webhook(str(beside))
        assert enqueued() == [str(waiting)], "the end of one dispatches the one that waits"
    deliver_webhook(str(waiting))
    assert get(waiting).position == get(beside).position != get(held).position


def test_receivers_that_fail_leave_workers_to_the_others(hook, end, receiver):
    failing, fine = [hook() for _ in range(3)], hook()
    end()
    with db.transaction():
        # Of three accounts.
        users = [accounts.create(f"Team {n}", f"{n}@example.org", "Eve")[0] for n in range(3)]
    for webhook_id, user in zip(failing, users, strict=True):
        change(webhook_id, account_id=user.account_id, failing_since=db.now(-60))
    with db.transaction():
        assert [deliveries.claim(each) is not None for each in (*failing, fine)] == [True, True, False, True]
