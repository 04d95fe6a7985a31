"""Runs the statements of a session once, so that SQLAlchemy has compiled them before the pool is forked.

Everything happens in temporary tables and is rolled back: no table of the database is read, written or locked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import uuid

from sqlalchemy.schema import CreateTable

from app import db
from app.models import Account, AgentRunner, AgentRunnerSession, Base, Budget, Site, User
from app.models.states import BudgetPeriod, Forge, SessionState, Stage
from app.services import counters, leases, lookup
from app.services.execution import exhaustion, outcomes, progress, scheduling, session_attempts
from app.services.variables import values

_BASE = progress.Base("0" * 40, "main", "main")
_USAGE = {"input_tokens": 1}
_WORK = outcomes.Work("result.patch", "cumulative.patch", base_sha=_BASE.base_sha, usage=_USAGE)
_AGENT = "shell"
_OF_AGENT = dataclasses.replace(_WORK, conversation_key="conversation", native_session_id="rehearsal")
_OF_PROGRAM = dataclasses.replace(_OF_AGENT, agent_version="1")
_ANSWER = dataclasses.replace(_OF_PROGRAM, result_diff_key=None, cumulative_diff_key=None)
# An UPDATE has the columns that change, so it is another one for an agent that remembers, and where nothing was changed.
_OUTCOMES = (
    outcomes.Outcome(_WORK),
    *(outcomes.Outcome(work, result="rehearsal") for work in (_WORK, _OF_AGENT, _OF_PROGRAM, _ANSWER)),
)


class _Undo(Exception):
    """Rolls the transaction back."""


def rehearse() -> None:
    """Compile the statements. Raises an error of SQLAlchemy, for example if the database is unavailable."""
    # A read-only transaction takes no lock on SQLite. Temporary tables can be written all the same.
    with contextlib.suppress(_Undo), db.transaction(read_only=True):
        _create_temporary_tables()
        session_id = _ask()
        for outcome in _OUTCOMES:
            before = db.session.begin_nested()
            _run(session_id, outcome)
            before.rollback()
        # The claim comes last, because it takes a lock that other workers wait for. Its parts are compiled by now.
        scheduling.plan_next()
        scheduling.find_next()
        claim = session_attempts.claim(session_id, "rehearsal")
        assert claim is not None
        values.of_site(claim.site)
        exhaustion.end_if_exhausted(claim.runner, claim.session)
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
    asked_at = datetime.datetime.now(datetime.UTC)
    times = {"last_session_created_at": asked_at, "active_session_created_at": asked_at}
    runner = AgentRunner(id=db.new_id(), title="rehearsal", latest_session_agent=_AGENT, **times, **owned)
    asked = {"prompt": "rehearsal", "agent": _AGENT, "dispatches": 1, "next_dispatch_at": asked_at}
    session = AgentRunnerSession(id=db.new_id(), created_at=asked_at, agent_runner_id=runner.id, **asked, **owned)
    budget = Budget(account_id=account.id, period=BudgetPeriod.MONTH, max_tokens=1000, updated_by=user.id)
    db.session.add_all([account, user, site, runner, session, budget])
    db.session.flush()
    db.session.expunge_all()
    return session.id


def _run(session_id: uuid.UUID, outcome: outcomes.Outcome) -> None:
    """What a session with this outcome writes, in the order in which it does, each as in a transaction of its own."""
    locked = lookup.lock_session(session_id)
    assert locked is not None
    session_attempts.begin(*locked, "rehearsal")
    for write in (
        # One event is inserted by another statement than several.
        lambda: progress.record(session_id, 1, [Stage.FETCHING]),
        lambda: progress.record(session_id, 1, [Stage.AGENT, _BASE]),
        lambda: progress.record(session_id, 1, [Stage.AGENT, progress.Step("rehearsal", "")]),
        lambda: progress.record(session_id, 1, [progress.Usage(_USAGE)]),
        lambda: db.session.get(AgentRunnerSession, session_id),
        lambda: leases.beat(AgentRunnerSession, session_id, 1),
        lambda: session_attempts.is_cancelled(session_id, 1),
        lambda: session_attempts.finish(session_id, 1, SessionState.DONE, outcome),
        lambda: counters.add({"rehearsal": 1}),
    ):
        db.session.flush()
        db.session.expunge_all()
        write()
    db.session.flush()
