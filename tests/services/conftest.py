"""An account with a site, and runners made by the verbs themselves."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from app import db, queue
from app.models import AgentRunnerSession, Publication, Site
from app.models.states import Scope
from app.services.accounts import accounts
from app.services.callers import Caller
from app.services.execution import session_attempts
from app.services.execution.session_attempts import Claim
from app.services.publishing import publications
from app.services.runners.agent_runners import Prepared, StoredDiff
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tests.asking import new_runner


@pytest.fixture
def ada(record: sa.Engine) -> Caller:
    with db.transaction():
        user, _ = accounts.create("Ada's team", "ada@example.org", "Ada")
        return Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)


@pytest.fixture
def site(ada: Caller) -> Site:
    with db.transaction():
        return sites.create(ada, SiteFields(repo_url="https://github.com/example/shop.git", default_branch="main"))


@pytest.fixture
def ask(ada: Caller, site: Site) -> Callable[..., uuid.UUID]:
    """Make a runner; the id of its session."""

    def make(caller: Caller = ada, **fields: object) -> uuid.UUID:
        with db.transaction():
            runner = new_runner(caller, **{"site_id": site.id, **fields})
            assert runner.latest_session_id is not None
            return runner.latest_session_id

    return make


@pytest.fixture
def publish(ada: Caller, site: Site) -> Callable[..., uuid.UUID]:
    """Ask for a commit of a runner that begins with a diff; the publication."""

    def make(caller: Caller = ada, **fields: object) -> uuid.UUID:
        with db.transaction():
            begun = Prepared(diff=StoredDiff("a diff", contains_secret=False))
            runner = new_runner(caller, prepared=begun, **{"site_id": site.id, **fields})
            publications.request_commit(caller, runner.id, {"target_branch": "notes"})
            return db.session.scalars(sa.select(Publication.id).where(Publication.agent_runner_id == runner.id)).one()

    return make


@contextlib.contextmanager
def listening(name: str) -> Iterator[Callable[[], list[str]]]:
    """What was enqueued on the queue of that name since the last call, at a broker in this process's memory."""
    with queue.celery().connection_for_read() as connection, connection.SimpleQueue(name) as messages:

        def look() -> list[str]:
            queue.flush()
            found = []
            while True:
                try:
                    message = messages.get_nowait()
                except messages.Empty:
                    return found
                message.ack()
                found += message.payload[0][:1]

        look()
        yield look


def claim(session_id: uuid.UUID, task_id: str = "task") -> Claim | None:
    """Claim as a worker does that received the message of a session. What is claimed is the one scheduled next."""
    with db.transaction():
        return session_attempts.claim(session_id, task_id)


def read(session_id: uuid.UUID) -> AgentRunnerSession:
    with db.transaction(read_only=True):
        return db.session.get_one(AgentRunnerSession, session_id)


def write(session_id: uuid.UUID, **values: object) -> None:
    """Change a row behind the verbs' back, as the passing of time does."""
    with db.transaction():
        db.session.execute(sa.update(AgentRunnerSession).where(AgentRunnerSession.id == session_id).values(**values))
