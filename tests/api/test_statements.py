"""How many statements the most frequent operations need. Each takes time, of the client and of the database."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from app import db
from app.models.states import Stage
from app.services.execution import progress
from tests.api.calling import created, patch_of, path_of
from tests.statements import counted

# SQLite takes a statement for each table that is written to, and needs none for locks.
MOST = {
    "POST /agent_runners": {"postgresql": 4, "sqlite": 6},
    "POST /agent_runners with a key": {"postgresql": 6, "sqlite": 8},
    "POST /agent_runners/{id}/sessions": {"postgresql": 6, "sqlite": 7},
    "claim": {"postgresql": 6, "sqlite": 5},
    "steps": {"postgresql": 5, "sqlite": 5},
    "finish": {"postgresql": 7, "sqlite": 7},
}


@pytest.fixture
def at_most(record: sa.Engine):
    """Check the number of statements, and of commits, in a block: `with at_most("claim"): ...`."""

    @contextlib.contextmanager
    def check(operation: str, commits: int = 1) -> Iterator[None]:
        with counted() as asked:
            yield
        assert len(asked.statements) <= MOST[operation][record.dialect.name], "\n\n".join(asked.statements)
        assert asked.commits == commits

    return check


def test_a_runner_is_created_with_few_statements(api, make_site, at_most):
    site = make_site()
    # The caller is authenticated in a transaction of its own, which only reads.
    with at_most("POST /agent_runners", commits=2):
        created(api.post("/agent_runners", {"site_id": site["id"], "prompt": "Say hello."}))


def test_a_repeat_of_it_is_made_possible_with_two_more(api, make_site, at_most):
    site, key = make_site(), {"Idempotency-Key": "order-17"}
    with at_most("POST /agent_runners with a key", commits=2):
        created(api.post("/agent_runners", {"site_id": site["id"], "prompt": "Say hello."}, headers=key))


def test_its_statements_are_short_enough_to_be_read_once(api, make_site, make_done_runner):
    # psycopg reads the others again each time: MAX_CACHED_STATEMENT_LENGTH and ..._PARAMS of psycopg/_queries.py.
    parent = make_done_runner()
    asks = {
        "title": "Hello",
        "agent": "claude",
        "model": "m",
        "effort": "high",
        "base_deploy_id": "1",
        "branch": "main",
    }
    with counted() as asked:
        created(api.post("/agent_runners", {"site_id": make_site()["id"], "prompt": "Say hello.", **asks}))
        more = {"site_id": parent["site_id"], "parent_agent_runner_id": parent["id"], "prompt": "Go on."}
        created(api.post("/agent_runners", {**more, **asks}))
    assert max(map(len, asked.statements)) <= 4096
    assert max(len(set(re.findall(r"%\(\w+\)s", each))) for each in asked.statements) <= 50


def test_a_follow_up_is_created_with_few_statements(api, make_done_runner, at_most):
    runner = make_done_runner()
    with at_most("POST /agent_runners/{id}/sessions", commits=2):
        created(api.post(path_of(runner, "/sessions"), {"prompt": "More."}))


def test_a_session_is_claimed_with_few_statements(make_runner, worker, at_most):
    runner = make_runner()
    with at_most("claim"):
        worker.claim(runner["latest_session_id"])


def test_steps_are_recorded_together_with_few_statements(make_runner, worker, at_most):
    claim = worker.claim(make_runner()["latest_session_id"])
    reports = [
        progress.Base("a" * 40, "main"),
        Stage.AGENT,
        *(progress.Step(f"Step {number}", "", of_agent=True) for number in range(20)),
        progress.Usage({"input_tokens": 1}),
    ]
    with at_most("steps"), db.transaction():
        progress.record(claim.session.id, claim.attempt, reports)


def test_a_session_is_finished_with_few_statements(make_runner, worker, at_most):
    claim = worker.claim(make_runner()["latest_session_id"])
    # Its counters have a transaction of their own.
    with at_most("finish", commits=2):
        worker.finish(claim, diff=patch_of("one"))
