"""Claims of workers outside our own, and the diffs that callers bring."""

from __future__ import annotations

import dataclasses
import uuid

import pytest

from app import artifacts, db
from app.errors import TooMany
from app.models import AgentRunner
from app.models.states import Execution, Scope, SessionState
from app.services import agent_runners, execution, reports, sites
from tests.services.conftest import read, write

RUNNING = {"state": SessionState.RUNNING}
DIFF = b"diff --git a/a b/a\n"


@pytest.fixture
def outside(ada, site):
    """A caller of scope worker, for a site whose sessions workers outside run."""
    with db.transaction():
        sites.update(ada, site.id, {"execution": Execution.EXTERNAL})
    return dataclasses.replace(ada, scope=Scope.WORKER)


def report(caller, session_id, fields):
    runner_id = read(session_id).agent_runner_id
    with db.transaction():
        return reports.report(caller, runner_id, session_id, fields)


def test_the_claim_of_another_worker_does_not_keep_a_lost_one_s_lease(outside, ask):
    session_id = ask()
    assert report(outside, session_id, RUNNING)[1]
    write(session_id, lease_expires_at=db.now(-1))
    assert report(outside, session_id, RUNNING)[1]
    assert (read(session_id).attempt, read(session_id).workers_lost) == (2, 1)


def test_the_limits_of_concurrent_sessions_hold_for_workers_outside_too(outside, ada, site, ask):
    with db.transaction():
        sites.update(ada, site.id, {"max_concurrent_sessions": 1})
    first, second = ask(), ask()
    report(outside, first, RUNNING)
    with pytest.raises(TooMany):
        report(outside, second, RUNNING)
    report(outside, first, {"state": SessionState.DONE})
    assert report(outside, second, RUNNING)[1]


def test_a_diff_that_was_uploaded_is_the_runner_s_own_from_then_on(ada, ask):
    session_id = ask()
    with db.transaction():
        claimed = execution.claim(session_id, "task")
    with db.transaction():
        execution.finish(session_id, claimed.attempt, SessionState.DONE, {})
    upload = f"user-uploaded-content/{ada.account_id}/{uuid.uuid4()}/x.patch"
    artifacts.store().put(upload, [DIFF])
    with db.transaction():
        agent_runners.update(ada, claimed.runner.id, {"result_diff_s3_key": upload})
    artifacts.store().delete(upload)
    with db.transaction(read_only=True):
        key = db.session.get_one(AgentRunner, claimed.runner.id).diff_key
    assert b"".join(artifacts.store().read(key)) == DIFF
