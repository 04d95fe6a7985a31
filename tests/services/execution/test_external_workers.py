"""Claims of external workers, and the diffs that callers send."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import uuid

import pytest

from app import artifacts, db
from app.config import settings
from app.errors import Conflict, TooMany
from app.models import AgentRunner
from app.models.states import Execution, Scope, SessionState
from app.services.artifacts import diffs
from app.services.execution import external_workers, session_attempts
from app.services.execution.outcomes import Outcome
from app.services.execution.reports import Report
from app.services.runners import agent_runner_sessions, agent_runners
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tests.services.conftest import read, write

pytestmark = pytest.mark.same_on_both_databases

RUNNING = {"state": SessionState.RUNNING}
DIFF = b"diff --git a/a b/a\nold mode 100644\nnew mode 100755\n"


@pytest.fixture
def outside(ada, site):
    """A caller of scope worker, for a site whose sessions workers outside run."""
    with db.transaction():
        sites.update(ada, site.id, SiteFields(execution=Execution.EXTERNAL))
    return dataclasses.replace(ada, scope=Scope.WORKER)


def report(caller, session_id, fields):
    runner_id = read(session_id).agent_runner_id
    prepared = external_workers.prepare(caller, runner_id, session_id, Report(**fields))
    with db.transaction():
        return external_workers.report(caller, runner_id, session_id, prepared)


def holding(caller, session_id):
    """The caller with the session token of the session's attempt."""
    return dataclasses.replace(caller, session_id=session_id, attempt=read(session_id).attempt)


def test_the_claim_of_another_worker_does_not_keep_a_lost_one_s_lease(outside, ask):
    session_id = ask()
    assert report(outside, session_id, RUNNING)[1]
    write(session_id, lease_expires_at=db.now(-1))
    assert report(outside, session_id, RUNNING)[1]
    assert (read(session_id).attempt, read(session_id).workers_lost) == (2, 1)


def test_a_claim_that_comes_too_late_is_no_heartbeat_of_the_worker_that_has_the_session(outside, ask):
    session_id = ask()
    assert report(outside, session_id, RUNNING)[1]
    before = read(session_id).lease_expires_at
    with pytest.raises(Conflict) as refusal:
        report(outside, session_id, RUNNING)
    assert refusal.value.error_code == "already_claimed"
    assert read(session_id).lease_expires_at == before


def test_a_worker_that_lost_its_session_cannot_end_the_attempt_of_the_next_one(outside, ask):
    session_id = ask()
    report(outside, session_id, RUNNING)
    late = holding(outside, session_id)
    write(session_id, lease_expires_at=db.now(-1))
    report(outside, session_id, RUNNING)
    for caller, code in ((late, "lease_lost"), (outside, "already_claimed")):
        with pytest.raises(Conflict) as refusal:
            report(caller, session_id, {"state": SessionState.DONE, "result_diff": DIFF.decode()})
        assert refusal.value.error_code == code
    assert read(session_id).state == SessionState.RUNNING
    assert not list(artifacts.store().list(f"{diffs.SESSIONS}/"))


def test_a_session_of_an_internal_worker_takes_no_external_reports(outside, ada, site, ask):
    with db.transaction():
        sites.update(ada, site.id, SiteFields(execution=Execution.INTERNAL))
    session_id = ask()
    with db.transaction():
        session_attempts.claim(session_id, "task")
    with pytest.raises(Conflict):
        report(outside, session_id, {"state": SessionState.DONE})
    assert read(session_id).state == SessionState.RUNNING


def test_a_stop_does_not_wait_for_the_store_that_a_report_waits_for(outside, ada, ask):
    session_id, other = ask(), ask()
    report(outside, session_id, RUNNING)
    key = diffs.attempt_key(read(session_id).agent_runner_id, session_id, 1, "result")
    # A pipe in the store's place for the diff answers once something is written into it.
    pipe = settings().artifacts / key
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        fields = {"result_diff_s3_key": key}
        reported = threads.submit(report, holding(outside, session_id), session_id, fields)
        with open(pipe, "wb") as answer:
            for each in (session_id, other):
                with db.transaction():
                    agent_runner_sessions.stop(ada, read(each).agent_runner_id, each)
            assert not reported.done()
            answer.write(DIFF)
        reported.result()
    session = read(session_id)
    assert (session.state, session.has_result_diff) == (SessionState.CANCELLED, True), "the work is kept"


def test_the_limits_of_concurrent_sessions_hold_for_external_workers_too(outside, ada, site, ask):
    with db.transaction():
        sites.update(ada, site.id, SiteFields(max_concurrent_sessions=1))
    first, second = ask(), ask()
    report(outside, first, RUNNING)
    with pytest.raises(TooMany):
        report(outside, second, RUNNING)
    report(holding(outside, first), first, {"state": SessionState.DONE})
    assert report(outside, second, RUNNING)[1]


def test_a_diff_that_was_uploaded_is_the_runner_s_own_from_then_on(ada, ask):
    session_id = ask()
    with db.transaction():
        claimed = session_attempts.claim(session_id, "task")
    with db.transaction():
        session_attempts.finish(session_id, claimed.attempt, SessionState.DONE, Outcome())
    upload = f"user-uploaded-content/{ada.account_id}/{uuid.uuid4()}/x.patch"
    artifacts.store().put(upload, [DIFF])
    sent = agent_runners.RunnerUpdate(result_diff_s3_key=upload)
    stored = agent_runners.store_replacement_diff(ada, claimed.runner.id, sent)
    with db.transaction():
        agent_runners.update(ada, claimed.runner.id, sent, stored)
    artifacts.store().delete(upload)
    with db.transaction(read_only=True):
        key = db.session.get_one(AgentRunner, claimed.runner.id).diff_key
    assert b"".join(artifacts.store().read(key)) == DIFF
