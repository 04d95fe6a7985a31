"""One publication of a site runs at a time, and few tasks of an account, so that its forges delay no other account's."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from app import db, queue
from app.models import Publication, Site
from app.models.states import PublicationState, Scope
from app.services import sweep
from app.services.accounts import accounts
from app.services.callers import Caller
from app.services.publishing import publication_attempts
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tests.services.conftest import listening


@pytest.fixture
def enqueued(configure: Callable[..., None], record: sa.Engine) -> Iterator[Callable[[], list[str]]]:
    """The publications that were enqueued since the last call."""
    configure(BROKER_URL="memory://")
    with listening(queue.CONTROL) as look:
        yield look


@pytest.fixture
def other_site(ada: Caller) -> Site:
    with db.transaction():
        return sites.create(ada, SiteFields(repo_url="https://github.com/example/other.git", default_branch="main"))


ENDS: dict[str, Callable[[uuid.UUID], object]] = {
    "done": lambda publication_id: publication_attempts.succeed(publication_id, 1, "a" * 40, None),
    "failed": lambda publication_id: publication_attempts.fail(publication_id, 1, "The forge said no."),
    "later": lambda publication_id: publication_attempts.retry_later(publication_id, 1),
}


in_each_way = pytest.mark.parametrize(
    ("database_url", "way"),
    [
        *(("postgres", way) for way in ENDS),
        ("sqlite", "done"),
        *(pytest.param("sqlite", way, marks=pytest.mark.full) for way in ("failed", "later")),
    ],
    indirect=["database_url"],
)


def end(way: str, publication_id: uuid.UUID) -> None:
    """Let its first attempt end in that way."""
    with db.transaction():
        ENDS[way](publication_id)


def take(publication_id: uuid.UUID) -> bool:
    """Claim a publication; whether that succeeded."""
    with db.transaction():
        return publication_attempts.claim(publication_id) is not None


def write(publication_id: uuid.UUID, **values: object) -> None:
    with db.transaction():
        db.session.execute(sa.update(Publication).where(Publication.id == publication_id).values(**values))


def read(publication_id: uuid.UUID) -> Publication:
    with db.transaction(read_only=True):
        return db.session.get_one(Publication, publication_id)


def test_a_site_has_one_publication_at_work_and_other_sites_theirs(publish, other_site):
    first, second, other = publish(), publish(), publish(site_id=other_site.id)
    assert take(first)
    assert not take(second) and take(other)
    waiting = read(second)
    assert (waiting.state, waiting.attempt, waiting.workers_lost) == (PublicationState.PENDING, 0, 0)


@pytest.mark.same_on_both_databases
def test_an_account_has_its_share_and_others_have_theirs(publish, ada, other_site, enqueued, configure):
    configure(BROKER_URL="memory://", MAX_ACCOUNT_CONTROL_TASKS="1")
    first, second, other = publish(), publish(), publish(site_id=other_site.id)
    assert take(first) and not take(other) and not take(second)
    with db.transaction():
        user, _ = accounts.create("Bob's team", "bob@example.org", "Bob")
        bob = Caller(user.account_id, user.id, ada.token_id, Scope.ADMIN)
        his = sites.create(bob, SiteFields(repo_url="https://github.com/bob/shop.git", default_branch="main"))
    assert take(publish(caller=bob, site_id=his.id)), "it waits for no other account"
    enqueued()
    end("failed", first)
    assert enqueued() == [str(second)]
    assert take(second) and not take(other)
    enqueued()
    end("done", second)
    assert enqueued() == [str(other)]
    assert take(other)


def test_two_accounts_do_not_occupy_all_publishers(publish, ada, other_site, enqueued, configure):
    configure(BROKER_URL="memory://", MAX_ACCOUNT_CONTROL_TASKS="2")
    first, second = publish(), publish(site_id=other_site.id)
    with db.transaction():
        user, _ = accounts.create("Bob's team", "bob@example.org", "Bob")
        bob = Caller(user.account_id, user.id, ada.token_id, Scope.ADMIN)
        urls = [f"https://github.com/bob/{name}.git" for name in ("shop", "shed")]
        his = [sites.create(bob, SiteFields(repo_url=url, default_branch="main")) for url in urls]
    theirs = [publish(caller=bob, site_id=site.id) for site in his]
    assert take(first) and take(theirs[0])
    assert not take(second) and not take(theirs[1]), "two of four places are left to others"
    enqueued()
    end("done", first)
    assert enqueued() == [str(second)] and take(second)


@in_each_way
def test_accounts_that_were_slow_leave_places_to_others(publish, ada, other_site, way):
    def account(name: str) -> uuid.UUID:
        with db.transaction():
            user, _ = accounts.create(name, f"{name}@example.org", name)
            caller = Caller(user.account_id, user.id, ada.token_id, Scope.ADMIN)
            url = f"https://github.com/{name}/shop.git"
            theirs = sites.create(caller, SiteFields(repo_url=url, default_branch="main"))
        return publish(caller=caller, site_id=theirs.id)

    slow, again = publish(), publish(site_id=other_site.id)
    assert take(slow)
    write(slow, claimed_at=db.now(-publication_attempts.SLOW_SECONDS - 1))
    end(way, slow)
    assert take(account("bob"))
    assert take(again), "half of the places are for whoever comes"
    write(again, lease_expires_at=None)
    assert take(account("carol"))
    assert not take(again), "it has none running, but was slow"
    assert take(account("dora"))
    write(slow, slow_until=db.now(-1))
    assert take(again)


def test_each_end_of_one_dispatches_the_one_that_waits_longest(publish, enqueued):
    running, *waiting = [publish() for _ in range(5)]
    assert take(running) and not any(take(each) for each in reversed(waiting))
    for way in ENDS:
        enqueued()
        end(way, running)
        running = waiting.pop(0)
        assert enqueued() == [str(running)], way
        assert take(running) and not take(waiting[0]), way


@pytest.mark.same_on_both_databases
def test_one_that_was_never_refused_is_not_dispatched_twice(publish, enqueued):
    first, _second = publish(), publish()
    assert take(first)
    enqueued()
    end("done", first)
    assert enqueued() == []


@pytest.mark.same_on_both_databases
def test_a_wait_for_a_retry_is_not_cut_short_by_the_end_of_another(publish, enqueued):
    first, second = publish(), publish()
    assert take(first)
    end("later", first)
    assert take(second)
    enqueued()
    end("done", second)
    assert enqueued() == []


def test_the_place_of_a_lost_worker_is_free_once_its_lease_has_expired(publish, enqueued):
    first, second = publish(), publish()
    assert take(first) and not take(second)
    write(first, lease_expires_at=db.now(-1), next_dispatch_at=db.now(-1))
    assert take(second)
    assert not take(first), "it waits for its site, and loses nothing by that"
    assert read(first).workers_lost == 0
    end("done", second)
    assert take(first)
    assert read(first).workers_lost == 1


@pytest.mark.same_on_both_databases
def test_one_that_waits_for_its_site_is_dispatched_by_the_sweep_too(publish, enqueued):
    first, second = publish(), publish()
    assert take(first) and not take(second)
    write(second, next_dispatch_at=db.now(-1))
    enqueued()
    with db.transaction():
        due = sweep.find_publications()
    for publication_id in due:
        with db.transaction():
            publication_attempts.repair(publication_id)
    assert enqueued() == [str(second)]
