"""Runs the statements of a session once, so that SQLAlchemy has compiled them before the pool is forked.

Everything happens in temporary tables and is rolled back: no table of the database is read, written or locked.
"""

from __future__ import annotations

import contextlib
import uuid

from sqlalchemy.schema import CreateTable

from app import db
from app.models import Account, AgentRunner, AgentRunnerSession, Base, Site, User
from app.models.states import Forge, SessionState, Stage
from app.services import leases, lookup
from app.services.execution import outcomes, progress, scheduling, session_attempts


class _Undo(Exception):
    """Rolls the transaction back."""


def rehearse() -> None:
    """Compile the statements. Raises an error of SQLAlchemy, for example if the database is unavailable."""
    # A read-only transaction takes no lock on SQLite. Temporary tables can be written all the same.
    with contextlib.suppress(_Undo), db.transaction(read_only=True):
        _create_temporary_tables()
        session_id = _ask()
        before = db.session.begin_nested()
        _run(session_id)
        before.rollback()
        # The claim comes last, because it takes a lock that other workers wait for. Its parts are compiled by now.
        scheduling.find_next()
        session_attempts.claim(session_id, "rehearsal")
        db.session.flush()
        raise _Undo


def _create_temporary_tables() -> None:
    """Hide each table behind a temporary one: both databases look there first."""
    connection = db.session.connection()
    for table in Base.metadata.sorted_tables:
        create = str(CreateTable(table, include_foreign_key_constraints=[]).compile(connection.engine))
        connection.exec_driver_sql(create.replace("CREATE TABLE", "CREATE TEMPORARY TABLE", 1))


def _ask() -> uuid.UUID:
    account = Account(id=db.new_id(), name="rehearsal")
    user = User(id=db.new_id(), account_id=account.id, email="rehearsal@example.org", full_name="rehearsal")
    site = Site(
        id=db.new_id(), account_id=account.id, name="rehearsal", repo_url="https://example.org", forge=Forge.NONE
    )
    owned = {"account_id": account.id, "site_id": site.id, "user_id": user.id}
    runner = AgentRunner(id=db.new_id(), title="rehearsal", last_session_created_at=db.now(), **owned)
    asked = {"prompt": "rehearsal", "agent": "shell", "dispatches": 1, "next_dispatch_at": db.now()}
    session = AgentRunnerSession(id=db.new_id(), agent_runner_id=runner.id, **asked, **owned)
    db.session.add_all([account, user, site, runner, session])
    db.session.flush()
    db.session.expunge_all()
    return session.id


def _run(session_id: uuid.UUID) -> None:
    """What a session writes, in the order in which it does, each as in a transaction of its own."""
    locked = lookup.lock_session(session_id)
    assert locked is not None
    session_attempts.begin(*locked, "rehearsal")
    work = outcomes.Work("result.patch", "cumulative.patch", base_sha="0" * 40, usage={})
    for write in (
        # One event is inserted by another statement than several.
        lambda: progress.record(session_id, 1, [Stage.FETCHING]),
        lambda: progress.record(session_id, 1, [Stage.AGENT, progress.Base("0" * 40, "main", "main")]),
        lambda: progress.record(session_id, 1, [Stage.AGENT, progress.Step("rehearsal", "")]),
        lambda: leases.beat(AgentRunnerSession, session_id, 1),
        lambda: session_attempts.is_cancelled(session_id, 1),
        lambda: session_attempts.finish(session_id, 1, SessionState.DONE, outcomes.Outcome(work)),
    ):
        db.session.flush()
        db.session.expunge_all()
        write()
    db.session.flush()
