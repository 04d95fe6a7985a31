"""An account that asks for everything which control workers do, all at once, leaves most of their places to others."""

from __future__ import annotations

import concurrent.futures
import hmac
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from app import db, queue
from app.models import Comparison, Publication
from app.models.states import Forge, Scope, SessionState
from app.services import control_places
from app.services.accounts import accounts, forge_accounts
from app.services.artifacts import diffs
from app.services.callers import Caller
from app.services.execution import session_attempts
from app.services.execution.outcomes import Outcome, Work
from app.services.forge_webhooks import deliveries as forge_deliveries
from app.services.forge_webhooks import webhooks as forge_webhooks
from app.services.forge_webhooks.deliveries import Received
from app.services.forge_webhooks.webhooks import ForgeWebhookFields
from app.services.hooks.authenticity import Request
from app.services.preflights import preflights
from app.services.publishing import publication_attempts, publications
from app.services.runners import comparisons
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from app.services.webhooks import deliveries, webhooks
from app.services.webhooks.webhooks import WebhookFields
from tasks.worker import CONTROL_TASKS
from tests.asking import new_runner, new_session
from tests.services.conftest import listening

# In one process, which makes a database once.
pytestmark = [pytest.mark.same_on_both_databases, pytest.mark.xdist_group("control_places")]
SHARE = CONTROL_TASKS // 2
Claim = Callable[[], object]


@pytest.fixture
def account(record: sa.Engine) -> Callable[[str], Caller]:
    def make(name: str) -> Caller:
        with db.transaction():
            user, _ = accounts.create(name, f"{name}@example.org", name)
            return Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)

    return make


def everything(caller: Caller) -> Iterator[Claim]:
    """Ask for work of each kind on a site of its own; the claim of a worker that got its message."""
    with db.transaction():
        url = f"https://github.com/{uuid.uuid4().hex}/shop.git"
        site = sites.create(caller, SiteFields(repo_url=url, default_branch="main"))
        runner_id = new_runner(caller, site.id).id
    first = work(runner_id)
    with db.transaction():
        new_session(caller, runner_id)
    second = work(runner_id)
    with db.transaction():
        publications.request_commit(caller, runner_id, {"target_branch": "notes"})
        mine = sa.select(Publication.id).where(Publication.agent_runner_id == runner_id)
        publication_id = db.session.scalars(mine).one()
        compared = comparisons.request(caller, runner_id, second, first).row.id
        checked = preflights.request(caller, site.id, agent=None, branch=None, run_setup=False).row.id
        url = f"https://{uuid.uuid4().hex}.example.org"
        connected = forge_accounts.connect(caller, forge=Forge.GITEA, forge_api_url=url, token="a-token").row.id
        webhook = webhooks.create(caller, WebhookFields(url="https://receiver.example.org/"))[0].id
        delivered = deliver(caller, site.id)
    yield lambda: publication_attempts.claim(publication_id)
    yield lambda: comparisons.claim(compared)
    yield lambda: forge_accounts.claim(connected)
    yield lambda: preflights.claim(checked)
    yield lambda: deliveries.claim(webhook)
    yield lambda: forge_deliveries.claim(delivered)


def work(runner_id: uuid.UUID) -> uuid.UUID:
    """Have the runner's session done, with a diff of its own; its id."""
    with db.transaction():
        made = session_attempts.claim(uuid.uuid4(), "task")
        assert made is not None and made.runner.id == runner_id
        key = diffs.attempt_key(runner_id, made.session.id, 1, "cumulative")
    with db.transaction():
        outcome = Outcome(Work(cumulative_diff_key=key, result_diff_key=key))
        session_attempts.finish(made.session.id, 1, SessionState.DONE, outcome)
    return made.session.id


def deliver(caller: Caller, site_id: uuid.UUID) -> uuid.UUID:
    """Have the site's forge deliver an issue with the label; the record."""
    webhook, secret = forge_webhooks.create(caller, site_id, ForgeWebhookFields(issue_label="agent"))
    data: dict[str, Any] = {"action": "labeled", "issue": {"number": 1}, "label": {"name": "agent"}}
    body = json.dumps(data).encode()
    digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
    headers = {"X-GitHub-Event": "issues", "X-Hub-Signature-256": f"sha256={digest}"}
    found = forge_deliveries.receive(webhook.id, Received(Request(headers.get, body), data, "1"))
    assert found is not None
    return found.id


def take(claim: Claim) -> bool:
    with db.transaction():
        return claim() is not None


@pytest.mark.parametrize("first", [0, 4])
def test_an_account_that_does_its_worst_leaves_half_of_the_places(account, first):
    attacker, victim = account("mallory"), account("ada")
    asked = [list(everything(attacker)) for _ in range(2)]
    attack = [claims[(first + kind) % 6] for kind in range(6) for claims in asked]
    assert [take(claim) for claim in attack] == [True] * SHARE + [False] * (len(attack) - SHARE)
    assert [take(claim) for claim in list(everything(victim))[:1]] == [True]
    assert not any(map(take, attack))


def test_what_is_claimed_in_the_same_moment_is_counted_too(account, configure):
    configure(MAX_ACCOUNT_CONTROL_TASKS="1")
    attacker = account("mallory")
    *_, checked, webhook, _delivered = everything(attacker)
    has_begun = threading.Event()

    def meanwhile() -> bool:
        has_begun.set()
        return take(checked)

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        with db.transaction():
            assert webhook() is not None
            other = threads.submit(meanwhile)
            has_begun.wait()
            concurrent.futures.wait([other], timeout=0.5)
        assert other.result() is False


def test_the_end_of_one_kind_dispatches_another_that_waits(account, configure):
    configure(BROKER_URL="memory://", MAX_ACCOUNT_CONTROL_TASKS="1")
    attacker = account("mallory")
    publication, compared, *_ = everything(attacker)
    with db.transaction():
        held = publication()
    assert held is not None and not take(compared)
    with db.transaction(read_only=True):
        waiting = db.session.scalars(sa.select(Comparison.id)).one()
    with listening(queue.CONTROL) as enqueued:
        with db.transaction():
            publication_attempts.fail(held.publication.id, 1, "The forge said no.")
        assert enqueued() == [str(waiting)]
        assert take(compared)
        with db.transaction():
            control_places.dispatch_next()
        assert enqueued() == [], "there is no place for more"


def test_what_was_dispatched_leaves_the_turn_to_others(account, configure):
    configure(BROKER_URL="memory://", MAX_ACCOUNT_CONTROL_TASKS="5")
    caller = account("ada")
    with db.transaction():
        site = sites.create(caller, SiteFields(repo_url="https://github.com/acme/shop.git", default_branch="main"))
        waiting = {str(deliver(caller, site.id))}
        other = sites.create(caller, SiteFields(repo_url="https://github.com/acme/cart.git", default_branch="main"))
        waiting.add(str(deliver(caller, other.id)))
    with listening(queue.CONTROL) as enqueued:
        for _ in range(2):
            with db.transaction():
                control_places.dispatch_next()
        assert set(enqueued()) == waiting
