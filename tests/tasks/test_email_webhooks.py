"""What a person gets by e-mail, through a real mail server in this process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
import structlog

from app import db
from app.errors import Conflict
from app.models import WebhookDelivery
from app.models.states import SessionState
from app.services.webhooks import webhooks
from app.services.webhooks.webhooks import WebhookFields
from tasks.doctor import machine
from tasks.webhooks import deliver_webhook
from tests.mail_server import USER, MailServer, mail_server
from tests.tasks.test_webhooks import ada, again, due, end, get  # noqa: F401 - fixtures

PASSWORD = "pass%2Fword%40mail"


@pytest.fixture
def mail(configure: Callable[..., None]) -> Iterator[MailServer]:
    with mail_server() as server:
        url = f"smtp://{USER}:{PASSWORD}@127.0.0.1:{server.port}"
        configure(SMTP_URL=url, SMTP_FROM="Agent Runners <runners@example.org>")
        yield server


@pytest.fixture
def hook(ask: Callable[..., uuid.UUID], mail: MailServer) -> Callable[..., uuid.UUID]:
    def make(**fields: object) -> uuid.UUID:
        with db.transaction():
            given = {"url": "mailto:ada@example.org", "events": ["session.error"], **fields}
            return webhooks.create(ada(), WebhookFields(**given))[0].id  # type: ignore[arg-type]

    return make


def newest_delivery() -> WebhookDelivery:
    with db.transaction(read_only=True):
        newest = sa.select(WebhookDelivery).order_by(WebhookDelivery.created_at.desc()).limit(1)
        return db.session.scalars(newest).one()


def test_a_person_is_written_to_with_what_failed_and_where_to_look(hook, end, mail):  # noqa: F811
    webhook_id = hook()
    end(SessionState.ERROR)
    deliver_webhook(str(webhook_id))
    [letter] = mail.letters
    assert (letter["To"], letter["Subject"]) == ("ada@example.org", "Failed: true") and mail.signed_in == [USER]
    assert "http://testserver/runners/" in letter.get_content()
    assert letter["List-Unsubscribe"] == f"<http://testserver/account/webhooks/{webhook_id}>"
    assert letter["Message-ID"] == f"<{newest_delivery().event_id}@example.org>"
    assert (newest_delivery().state, newest_delivery().status) == ("delivered", 250) and due() == []


def test_a_letter_that_is_refused_for_now_is_sent_again_with_the_same_id(hook, end, mail):  # noqa: F811
    webhook_id = hook()
    end(SessionState.ERROR)
    mail.refusals["DATA"] = "451 4.7.1 Try again later"
    deliver_webhook(str(webhook_id))
    delivery = newest_delivery()
    assert (delivery.status, delivery.error) == (451, "The mail server refused the message: 451 4.7.1.")
    assert get(webhook_id).failing_since and get(webhook_id).state == "active"
    mail.refusals.clear()
    again(webhook_id)
    assert mail.letters[0]["Message-ID"] == f"<{delivery.event_id}@example.org>" and len(mail.letters) == 1


def test_a_mailbox_that_does_not_exist_is_left_alone(hook, end, mail):  # noqa: F811
    webhook_id = hook()
    end(SessionState.ERROR)
    mail.refusals["RCPT"] = "550 5.1.1 User unknown"
    deliver_webhook(str(webhook_id))
    assert get(webhook_id).state == "disabled" and due() == []
    assert get(webhook_id).disabled_reason == "The mail server says that there is no such mailbox: 550 5.1.1."


def test_more_letters_than_an_hour_may_have_wait_and_none_is_lost(hook, end, mail, configure):  # noqa: F811
    configure(MAX_EMAILS_PER_HOUR="2")
    webhook_id = hook()
    for _ in range(3):
        end(SessionState.ERROR)
    deliver_webhook(str(webhook_id))
    again(webhook_id)
    assert len(mail.letters) == 2 and get(webhook_id).next_dispatch_at and get(webhook_id).failing_since is None
    with pytest.raises(Conflict) as refused, db.transaction():
        webhooks.replay(ada(), webhook_id, newest_delivery().id)
    assert refused.value.error_code == "sent_recently", "else the same letter could be sent without end"
    with db.transaction():
        db.session.execute(sa.update(WebhookDelivery).values(tried_at=db.now(-3601)))
    again(webhook_id)
    assert len({letter["Message-ID"] for letter in mail.letters}) == 3


def test_the_password_of_the_mail_server_is_in_no_log_and_no_finding(hook, end, mail, configure):  # noqa: F811
    webhook_id = hook()
    wrong = f"smtp://{USER}:not-to-be-shown@127.0.0.1:{mail.port}"
    assert machine.mail().state == "working"
    configure(SMTP_URL=wrong)
    end(SessionState.ERROR)
    with structlog.testing.capture_logs() as lines:
        deliver_webhook(str(webhook_id))
    assert (machine.mail().state, newest_delivery().status) == ("failing", 535)
    assert "not-to-be-shown" not in f"{lines}{machine.mail()}{newest_delivery().error}" and lines


def test_a_mail_server_that_is_no_longer_set_is_named_where_its_owner_looks(hook, end, mail, configure):  # noqa: F811
    webhook_id = hook()
    end(SessionState.ERROR)
    configure(SMTP_URL="")
    deliver_webhook(str(webhook_id))
    assert "AGENT_RUNNERS_SMTP_URL is not set" in newest_delivery().error and get(webhook_id).state == "active"
