"""Sessions that run in this process, on repositories of the test."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunner, AgentRunnerSession
from app.models.states import Scope
from app.services.accounts import accounts
from app.services.callers import Caller
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tests.asking import new_runner
from tests.demo.conftest import forge
from tests.workers.repositories import make_origin

# Here, so that the tests of this folder share one forge: a fixture that is imported in each file starts one for each.
__all__ = ["forge"]


@pytest.fixture
def ask(record: sa.Engine, configure: Callable[..., None], tmp_path: Path) -> Callable[..., uuid.UUID]:
    """Make a runner on a repository with one file, `a.txt`; the id of its session."""
    configure(SANDBOX="none", LOCAL_REPOSITORIES=str(tmp_path), HEARTBEAT_SECONDS="1", LEASE_SECONDS="20")
    origin = make_origin(tmp_path / "origin", {"a.txt": "a\n"})
    with db.transaction():
        user, _ = accounts.create("Ada's team", "ada@example.org", "Ada")
        ada = Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)
        site = sites.create(ada, SiteFields(repo_url=str(origin)))

    def make(script: str, **fields: object) -> uuid.UUID:
        with db.transaction():
            runner = new_runner(ada, site.id, script, **{"agent": "shell", **fields})
            assert runner.latest_session_id is not None
            return runner.latest_session_id

    return make


def read(session_id: uuid.UUID) -> AgentRunnerSession:
    with db.transaction(read_only=True):
        return db.session.get_one(AgentRunnerSession, session_id)


def runner_of(session_id: uuid.UUID) -> AgentRunner:
    with db.transaction(read_only=True):
        return db.session.get_one(AgentRunner, read(session_id).agent_runner_id)
