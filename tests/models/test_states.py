"""The state machine on its page."""

from __future__ import annotations

import itertools

import pytest

from app.models.states import ACTIVE, FINAL, RunnerState, SessionState, may_move, runner_state

ALLOWED = {
    ("NEW", "RUNNING"),
    ("NEW", "CANCELLED"),
    ("NEW", "ERROR"),
    ("RUNNING", "DONE"),
    ("RUNNING", "ERROR"),
    ("RUNNING", "CANCELLED"),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(SessionState, SessionState)))
def test_exactly_the_moves_of_the_page_are_allowed(old: SessionState, new: SessionState) -> None:
    assert may_move(old, new) == ((old, new) in ALLOWED)


def test_every_state_is_active_or_final() -> None:
    assert set(SessionState) == ACTIVE | FINAL and not ACTIVE & FINAL


def test_an_active_session_decides_a_runners_state() -> None:
    for active, latest in itertools.product(ACTIVE, [None, *SessionState]):
        assert runner_state(active, latest) == RunnerState(active)


def test_else_the_latest_session_that_counts_decides_and_else_the_runner_is_done() -> None:
    assert runner_state(None, SessionState.ERROR) == RunnerState.ERROR
    assert runner_state(None, SessionState.DONE) == RunnerState.DONE
    assert runner_state(None, None) == RunnerState.DONE
