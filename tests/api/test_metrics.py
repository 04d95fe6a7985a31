"""What operators watch, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from app import db
from app.config import settings
from app.models.states import SessionState
from app.services import counters, last_runs
from app.services.execution.outcomes import Failure
from tests.api.conftest import Worker

Read = Callable[[], dict[str, float]]


def samples(text: str) -> Iterator[tuple[str, float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield "/".join([sample.name.removeprefix("agent_runners_"), *sample.labels.values()]), sample.value


@pytest.fixture
def read(app: Flask, configure: Callable[..., None]) -> Read:
    configure(METRICS_TOKEN="for prometheus")

    def ask() -> dict[str, float]:
        answer = app.test_client().get("/metrics", headers={"Authorization": "Bearer for prometheus"})
        assert answer.status_code == 200 and answer.content_type.startswith("text/plain; version=0.0.4")
        return dict(samples(answer.get_data(as_text=True)))

    return ask


def test_sessions_are_counted_by_state_and_by_how_they_ended(
    read: Read, make_runner: Callable[..., dict[str, Any]], worker: Worker
) -> None:
    first, _, _ = make_runner(), make_runner(), make_runner()
    with db.transaction():
        last_runs.record(last_runs.SWEEP)
        counters.count("egress_refused", 3)
    claim = worker.claim(first["latest_session_id"])
    now = read()
    assert (now["sessions/NEW"], now["sessions/RUNNING"]) == (2, 1)
    assert 0 <= now["sweep_age_seconds"] < 60 and 0 <= now["oldest_waiting_seconds"] < 60
    assert (now["expired_leases"], now["pending_publications"], now["workers_lost_total"]) == (0, 0, 0)
    assert now["event_streams"] == 0
    assert now["egress_refused_total"] == 3

    failure = {"code": "stalled", "stage": "agent", "retryable": True, "message": "It slept."}
    worker.finish(claim, SessionState.ERROR, failure=Failure(**failure))

    then = read()
    assert (then["sessions/RUNNING"], then["sessions_ended_total/ERROR"]) == (0, 1)
    assert then["sessions_failed_total/stalled"] == 1


@pytest.mark.same_on_both_databases
def test_metrics_need_their_token(read: Read, app: Flask) -> None:
    for header in (None, "Bearer ", "Bearer wrong", "Basic for prometheus"):
        answer = app.test_client().get("/metrics", headers={"Authorization": header} if header else {})
        assert (answer.status_code, answer.json["error_code"]) == (401, "bad_token"), header


@pytest.mark.same_on_both_databases
def test_a_token_that_is_not_set_is_created_once(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/metrics").status_code == 401
    token = (settings().data_dir / "metrics.token").read_text()
    assert len(token) > 30 and oct((settings().data_dir / "metrics.token").stat().st_mode)[-3:] == "600"
    assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200
