"""What forges deliver: the state of a pull request is read from the forge, whatever is delivered and in which order."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app import db
from app.config import settings
from app.models import AgentRunner, ForgeDelivery
from app.models.states import Forge, ForgeDeliveryState, PullRequestState, RunnerState
from app.services import leases
from app.services.forge_webhooks import deliveries, webhooks
from app.services.runners import agent_runner_sessions
from tasks.forge_deliveries import follow_forge
from tasks.pull_request_facts import get_facts
from tests.asking import new_session
from tests.demo.forge import DemoForge
from tests.tasks.pull_request import Opened
from tests.tasks.talk import NUMBER, PullRequestDeliveries, record_of


@pytest.fixture
def work(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge) -> Opened:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    return Opened(forge, ask("true"))


def test_the_state_follows_a_merge(work: Opened) -> None:
    """Other forges: the tests of what people write there."""
    followed = PullRequestDeliveries(work)
    assert followed.follow(followed.deliver()) == PullRequestState.OPEN
    work.merge()
    assert followed.follow(followed.deliver()) == PullRequestState.MERGED
    assert work.runner.state == RunnerState.DONE


def test_what_bitbucket_delivers_of_other_things_is_ignored(ask, configure, forge: DemoForge) -> None:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    followed = PullRequestDeliveries(Opened(forge, ask("true"), Forge.BITBUCKET), Forge.BITBUCKET)
    comment = {"comment": {"id": 1, "content": {"raw": "@agent-runners go on"}}}
    for event in ("repo:push", "pullrequest:comment_deleted", "pullrequest:comment_updated", ""):
        assert followed.receive(event, {**NUMBER, **comment}) is None
    for wrong in ({"comment": {"id": "1", "content": {"raw": ""}}}, {"comment": {"id": 1, "content": None}}, {}):
        assert followed.receive("pullrequest:comment_created", {**NUMBER, **wrong}) is None


def test_deliveries_in_any_order_and_number_lead_to_what_the_forge_shows(work: Opened) -> None:
    followed = PullRequestDeliveries(work)
    followed.work.edit(state="closed")
    closed = followed.deliver("closed")
    assert [followed.deliver("closed") for _ in range(2)] == [closed, closed]
    followed.work.edit(state="open")
    opened = followed.deliver("reopened")
    assert followed.follow(opened, closed) == PullRequestState.OPEN
    followed.work.edit(state="closed")
    assert followed.follow(followed.deliver()) == PullRequestState.CLOSED
    followed.work.edit(state="open")
    again = followed.deliver()
    assert followed.follow(again) == PullRequestState.OPEN
    before = record_of(again).attempt
    follow_forge(str(again))
    assert record_of(again).attempt == before, "it is done"


def test_what_was_read_before_something_newer_is_not_recorded(work: Opened) -> None:
    followed = PullRequestDeliveries(work)
    with db.transaction():
        slow = deliveries.claim(followed.deliver())
    assert slow is not None
    read_by_slow = get_facts(slow.check.site, 1)
    followed.work.edit(state="closed")
    assert followed.follow(followed.deliver()) == PullRequestState.CLOSED
    with db.transaction():
        deliveries.succeed(slow, read_by_slow)
    assert work.runner.pr_state == PullRequestState.CLOSED


def test_a_merge_archives_the_runner_where_the_site_says_so(work: Opened) -> None:
    followed = PullRequestDeliveries(work, archive_merged=True)
    followed.work.edit(state="closed")
    followed.follow(followed.deliver())
    assert work.runner.state == RunnerState.DONE, "it was not merged"
    followed.work.edit(state="open")
    work.merge()
    with db.transaction():
        new_session(work.ada, work.runner.id, "true", agent="shell")
    assert followed.follow(followed.deliver()) == PullRequestState.MERGED
    assert work.runner.state == RunnerState.NEW, "it is at work"
    with db.transaction():
        agent_runner_sessions.stop_active(work.ada, work.runner.id)
    followed.follow(followed.deliver())
    assert work.runner.state == RunnerState.ARCHIVED


def test_a_forge_that_does_not_answer_is_asked_again(work: Opened) -> None:
    followed = PullRequestDeliveries(work)
    work.merge()
    delivery = followed.deliver()
    work.forge.set_faults(down=60)
    follow_forge(str(delivery))
    failed = record_of(delivery)
    assert (failed.state, failed.lease_expires_at) == (ForgeDeliveryState.PENDING, None)
    assert failed.next_dispatch_at is not None
    work.forge.down(0)
    assert followed.follow(delivery) == PullRequestState.MERGED


def test_a_refused_token_ends_the_delivery_with_the_reason(work: Opened) -> None:
    followed = PullRequestDeliveries(work)
    delivery = followed.deliver()
    work.forge.revoke()
    try:
        follow_forge(str(delivery))
    finally:
        work.forge.restore()
    failed = record_of(delivery)
    assert failed.state == ForgeDeliveryState.FAILED and "Pull requests: read and write" in (failed.error or "")


def test_a_delivery_whose_worker_was_lost_is_dispatched_again(work: Opened) -> None:
    followed = PullRequestDeliveries(work)
    delivery = followed.deliver()
    for lost in range(1, 4):
        with db.transaction():
            assert deliveries.claim(delivery) is not None
            assert deliveries.claim(delivery) is None, "a worker holds it"
        with db.transaction():
            db.session.execute(sa.update(ForgeDelivery).values(lease_expires_at=db.now(-1)))
        with db.transaction(read_only=True):
            assert deliveries.find_due(10) == [delivery]
        with db.transaction():
            deliveries.repair(delivery)
        assert record_of(delivery).workers_lost == lost
    assert record_of(delivery).state == ForgeDeliveryState.FAILED


def test_one_account_holds_few_workers(work: Opened) -> None:
    followed = PullRequestDeliveries(work)
    is_claimed = []
    share = settings().max_account_control_tasks
    for _ in range(share + 1):
        # Before it is claimed, another one would be the same.
        delivery_id = followed.deliver()
        with db.transaction():
            is_claimed.append(deliveries.claim(delivery_id) is not None)
    assert is_claimed == [True] * share + [False]


def test_a_publication_in_progress_has_the_last_word(work: Opened) -> None:
    followed = PullRequestDeliveries(work)
    followed.work.edit(state="closed")
    with db.transaction():
        db.session.execute(sa.update(AgentRunner).values(pr_is_being_created=True))
    assert followed.follow(followed.deliver()) == PullRequestState.OPEN


def test_old_deliveries_are_forgotten_and_a_deleted_webhook_leaves_none(work: Opened) -> None:
    followed = PullRequestDeliveries(work)
    followed.follow(followed.deliver())
    pending = followed.deliver()
    with db.transaction():
        db.session.execute(sa.update(ForgeDelivery).values(created_at=db.now(-deliveries.KEPT_SECONDS - 1)))
        deliveries.forget_old()
        assert list(db.session.scalars(sa.select(ForgeDelivery.id))) == [pending]
        claim = deliveries.claim(pending)
    assert claim is not None
    with db.transaction():
        webhooks.delete(work.ada, work.runner.site_id)
        assert list(db.session.scalars(sa.select(ForgeDelivery.id))) == []
    with pytest.raises(leases.LeaseLost), db.transaction():
        deliveries.fail(claim, "It failed.", retryable=True)
