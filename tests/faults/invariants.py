"""What holds after whatever died: checked through the API, and in the database where the API does not show it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.config import Settings
from app.models import Event
from app.models.states import SessionState
from app.services import events
from app.services.artifacts import references
from tests.demo.forge import DemoForge
from tests.deployment import Deployment, wait_for
from tests.faults.agents import GONE_WITHIN_SECONDS, assert_no_agent_stays, zombies_of

FINAL = ("DONE", "ERROR", "CANCELLED")


def check(deployment: Deployment, known: set[str]) -> None:
    """Assert all of it for what the deployment has run, but for what `known` names, runners by id and stored objects by
    key. What was checked is known after it: a look at everything after each test would take longer than the tests."""
    wait_for("the end of every session", lambda: _all_final(deployment, known))
    assert_no_agent_stays(deployment)
    wait_for("the burial of every process", lambda: not zombies_of(deployment), GONE_WITHIN_SECONDS)
    new = _runners(deployment, known)
    for runner in new:
        sessions = _sessions(deployment, runner)
        _check_artifacts(deployment, runner, sessions)
        _check_pull_request(runner, sessions)
    engine = db.make_engine(deployment.database_url)
    try:
        with engine.connect() as connection:
            _check_events(deployment, connection, known)
            _check_stored(deployment, connection, known)
    finally:
        engine.dispose()
    known |= {runner["id"] for runner in new}


def check_all(deployment: Deployment) -> None:
    """Assert all of it for all that the deployment has run."""
    check(deployment, set())


def check_forge(forge: DemoForge) -> None:
    """Assert that a branch has one pull request at most, open or not."""
    for name in forge.full_names():
        heads = [pull["head"]["ref"] for pull in forge.pulls(name)]
        assert len(heads) == len(set(heads)), f"{name} has more than one pull request of a branch: {heads}"


def _all_final(deployment: Deployment, known: set[str]) -> bool:
    runners = _runners(deployment, known)
    return all(session["state"] in FINAL for runner in runners for session in _sessions(deployment, runner))


def _runners(deployment: Deployment, known: set[str]) -> list[dict[str, Any]]:
    return [runner for runner in _pages(deployment, "/agent_runners") if runner["id"] not in known]


def _sessions(deployment: Deployment, runner: dict[str, Any]) -> list[dict[str, Any]]:
    return list(_pages(deployment, f"/agent_runners/{runner['id']}/sessions?include_discarded=true"))


def _pages(deployment: Deployment, path: str) -> Iterator[dict[str, Any]]:
    for page in itertools.count(1):
        found = deployment.call("GET", path, params={"page": page})
        yield from found
        if len(found) < 100:
            return


def _check_artifacts(deployment: Deployment, runner: dict[str, Any], sessions: list[dict[str, Any]]) -> None:
    """Every diff that is shown can be fetched."""
    for session in sessions:
        for kind in ("result", "cumulative"):
            if session[f"has_{kind}_diff"]:
                assert deployment.diff(runner, session, kind).startswith("diff --git"), session
    if runner["has_result_diff"]:
        assert deployment.call("GET", f"/agent_runners/{runner['id']}/diff")


def _check_stored(deployment: Deployment, connection: sa.Connection, known: set[str]) -> None:
    """Every object that a row refers to is in the store."""
    store = store_of(deployment)
    for column in references.COLUMNS:
        for key in set(connection.scalars(sa.select(column).where(column.is_not(None)))) - known:
            assert store.stat(key) is not None, f"{column} refers to {key}, which is not stored"
            known.add(key)


def store_of(deployment: Deployment) -> artifacts.Store:
    """The store of the deployment's artifacts."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in deployment.variables.items():
            patch.setenv(name, value)
        return artifacts.make_store(Settings.from_environment(deployment.environment()))


def _check_pull_request(runner: dict[str, Any], sessions: list[dict[str, Any]]) -> None:
    """No pull request is made of nothing but what was cancelled."""
    if runner["pr_number"] is not None:
        assert any(session["state"] != "CANCELLED" for session in sessions), runner


def _check_events(deployment: Deployment, connection: sa.Connection, known: set[str]) -> None:
    """Numbers without gap or repeat, attempts that only grow, and steps of the current attempt alone."""
    of_runner: dict[Any, list[Any]] = {}
    for row in connection.execute(sa.select(Event.__table__).order_by(Event.agent_runner_id, Event.seq)):
        if str(row.agent_runner_id) not in known:
            of_runner.setdefault(row.agent_runner_id, []).append(row)
    for runner_id, rows in of_runner.items():
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1)), f"events of runner {runner_id}"
        of_session: dict[Any, list[Any]] = {}
        for row in rows:
            # Those of a publication name the session whose work it has, and belong to none of its attempts.
            if row.session_id is not None and row.kind != events.PUBLICATION:
                of_session.setdefault(row.session_id, []).append(row)
        for session_id, mine in of_session.items():
            _check_attempts(deployment, runner_id, session_id, mine)


def _check_attempts(deployment: Deployment, runner_id: Any, session_id: Any, rows: list[Any]) -> None:
    attempts = [row.attempt for row in rows]
    assert attempts == sorted(attempts), f"events of session {session_id} go back to an earlier attempt: {attempts}"
    claimed = [row.attempt for row in rows if row.kind == events.STATE and row.payload["state"] == SessionState.RUNNING]
    assert claimed == list(range(1, len(claimed) + 1)), f"attempts of session {session_id}: {claimed}"
    ends = [row for row in rows if row.kind == events.STATE and row.payload["state"] in FINAL]
    ended_as = [row.payload["state"] for row in ends if not row.payload.get("work_saved")]
    shown = deployment.session({"id": runner_id}, str(session_id))
    assert ended_as == [shown["state"]], f"session {session_id} ended more than once: {ended_as}"
    assert shown["attempt"] == len(claimed), f"session {session_id} shows attempt {shown['attempt']} of {claimed}"
    current = [row for row in rows if row.kind == events.STEP and row.attempt == shown["attempt"]]
    assert [step["id"] for step in shown["steps"]] == [str(row.id) for row in current], f"steps of {session_id}"
