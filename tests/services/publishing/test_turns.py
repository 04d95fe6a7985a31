"""Publications of one site take turns, so that its forge holds up nobody else."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from app import db, queue
from app.models import Publication, Site
from app.models.states import PublicationState, SessionState
from app.services import sweep
from app.services.artifacts import diffs
from app.services.callers import Caller
from app.services.execution import session_attempts
from app.services.publishing import publication_attempts, publications
from app.services.sites import sites
from tests.services.conftest import claim, listening


@pytest.fixture
def rung(configure: Callable[..., None], record: sa.Engine) -> Iterator[Callable[[], list[str]]]:
    """The publications that were rung for since the last look."""
    configure(BROKER_URL="memory://")
    with listening(queue.CONTROL) as look:
        yield look


@pytest.fixture
def other_site(ada: Caller) -> Site:
    with db.transaction():
        return sites.create(ada, {"repo_url": "https://github.com/example/other.git"})


@pytest.fixture
def publish(ada: Caller, ask: Callable[..., uuid.UUID]) -> Callable[..., uuid.UUID]:
    """Ask for a commit of a runner that has a diff; the publication."""

    def make(**fields: object) -> uuid.UUID:
        made = claim(ask(**fields))
        assert made is not None
        key = diffs.attempt_key(made.runner.id, made.session.id, 1, "cumulative")
        with db.transaction():
            session_attempts.finish(
                made.session.id, 1, SessionState.DONE, {"cumulative_diff_key": key, "result_diff_key": key}
            )
        with db.transaction():
            publications.request_commit(ada, made.runner.id, {"target_branch": "notes"})
        with db.transaction(read_only=True):
            newest = sa.select(Publication.id).where(Publication.agent_runner_id == made.runner.id)
            return db.session.scalars(newest).one()

    return make


def take(number: uuid.UUID) -> bool:
    """Answer the bell of a publication; whether it was to be had."""
    with db.transaction():
        return publication_attempts.claim(number) is not None


def write(number: uuid.UUID, **values: object) -> None:
    with db.transaction():
        db.session.execute(sa.update(Publication).where(Publication.id == number).values(**values))


def read(number: uuid.UUID) -> Publication:
    with db.transaction(read_only=True):
        return db.session.get_one(Publication, number)


def test_a_site_has_one_publication_at_work_and_other_sites_theirs(publish, other_site):
    first, second, other = publish(), publish(), publish(site_id=other_site.id)
    assert take(first)
    assert not take(second) and take(other)
    waiting = read(second)
    assert (waiting.state, waiting.attempt, waiting.workers_lost) == (PublicationState.PENDING, 0, 0)


@pytest.mark.parametrize("way", ["done", "failed", "later"])
def test_the_turn_is_given_on_to_the_one_that_waits_the_longest(publish, rung, way):
    first, second, third = publish(), publish(), publish()
    assert take(first) and not take(third) and not take(second)
    rung()
    with db.transaction():
        if way == "done":
            publication_attempts.succeed(first, 1, "a" * 40, None)
        elif way == "failed":
            publication_attempts.fail(first, 1, "The forge said no.")
        else:
            publication_attempts.retry_later(first, 1)
    assert rung() == [str(second)]
    assert take(second) and not take(third)


def test_whoever_was_never_refused_is_not_rung_for_twice(publish, rung):
    first, _second = publish(), publish()
    assert take(first)
    rung()
    with db.transaction():
        publication_attempts.succeed(first, 1, "a" * 40, None)
    assert rung() == []


def test_a_wait_for_a_retry_is_not_cut_short_by_the_turn_of_another(publish, rung):
    first, second = publish(), publish()
    assert take(first)
    with db.transaction():
        publication_attempts.retry_later(first, 1)
    assert take(second)
    rung()
    with db.transaction():
        publication_attempts.succeed(second, 1, "a" * 40, None)
    assert rung() == []


def test_the_turn_of_a_lost_worker_is_free_once_its_lease_has_ended(publish, rung):
    first, second = publish(), publish()
    assert take(first) and not take(second)
    write(first, lease_expires_at=db.now(-1), next_bell_at=db.now(-1))
    assert take(second)
    assert not take(first), "it waits for its turn, and loses nothing by that"
    assert read(first).workers_lost == 0
    with db.transaction():
        publication_attempts.succeed(second, 1, "a" * 40, None)
    assert take(first)
    assert read(first).workers_lost == 1


def test_whoever_waits_for_a_turn_is_rung_for_by_the_sweep_too(publish, rung):
    first, second = publish(), publish()
    assert take(first) and not take(second)
    write(second, next_bell_at=db.now(-1))
    rung()
    with db.transaction():
        due = sweep.find_stale_publications()
    for number in due:
        with db.transaction():
            sweep.resume_publication(number)
    assert rung() == [str(second)]


def test_the_sweep_takes_first_whoever_waits_the_longest_for_a_bell(publish):
    asked_first, asked_last = publish(), publish()
    write(asked_first, next_bell_at=db.now(-1))
    write(asked_last, next_bell_at=db.now(-60))
    with db.transaction(read_only=True):
        assert sweep.find_stale_publications() == [asked_last, asked_first]
