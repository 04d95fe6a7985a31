"""What one caller can ask for is bounded: the size of answers, of what is kept, and the work done while rows are locked."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from app.models import IdempotencyKey
from app.models.states import Scope
from tests.api.calling import ok, path_of, refused, session_path
from tests.statements import counted

KEY = {"Idempotency-Key": "order-17"}
LONG = "word " * 20_000


def test_lists_have_the_beginning_of_long_texts_and_one_session_all_of_them(api, make_runner):
    runner = make_runner(prompt=LONG)
    full, (listed,) = ok(api.get(session_path(runner))), ok(api.get(path_of(runner, "/sessions")))
    assert full["prompt"] == LONG and full["prompt_truncated"] is False
    assert LONG.startswith(listed["prompt"]) and 1000 < len(listed["prompt"]) < len(LONG)
    assert (listed["prompt_truncated"], listed["result_truncated"], listed["result"]) == (True, False, None)


def test_long_texts_are_not_even_read_for_a_list(api, make_runner):
    runner = make_runner(prompt=LONG)
    with counted() as asked:
        ok(api.get(path_of(runner, "/sessions")))
    assert not [
        statement
        for statement in asked.statements
        if re.search(r"(?<!substr\()\bagent_runner_sessions\.prompt", statement)
    ]


@pytest.mark.same_on_both_databases
def test_a_refusal_names_some_of_a_million_unknown_fields(api):
    body = {f"unknown{number}{'x' * 1000}": number for number in range(5000)}
    answer = api.post("/agent_runners", body)
    assert "more, see errors" in refused(answer, 422, "invalid")["message"]
    assert len(answer.data) < 200_000
    assert len(api.post("/agent_runners", {"limits": {**body, "x" * 100_000: 1}}).data) < 200_000


@pytest.mark.same_on_both_databases
def test_nothing_is_kept_for_a_token_that_may_only_read(api, ada, engine):
    reader = ada.holding(Scope.READ)
    refused(reader.post("/agent_runners", {"unknown": 1}, headers=KEY), 422, "invalid")
    refused(reader.post("/tokens", {"name": "a", "scope": "read"}, headers=KEY), 403, "scope_missing")
    refused(
        ada.holding(Scope.WRITE).post("/tokens", {"name": "a", "scope": "admin"}, headers=KEY), 403, "scope_missing"
    )
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(IdempotencyKey)) == 0


def test_many_steps_are_recorded_by_as_many_statements_as_a_few(ada, make_site, make_runner):
    runner, outside = make_runner(site=make_site(execution="external")), ada.holding(Scope.WORKER)
    claim = ok(outside.patch(session_path(runner), {"state": "RUNNING"}))
    worker = outside.with_token(claim["session_token"])
    asked = []
    for number in (1, 2, 500):
        with counted() as counter:
            ok(worker.patch(session_path(runner), {"steps": [{"title": f"{number} {n}"} for n in range(number)]}))
        asked.append(len(counter.statements))
    assert asked[1] == asked[2]
