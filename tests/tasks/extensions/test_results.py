"""Celery without results, as a worker runs it."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from celery.worker import control

from tasks.celery_app import app


def test_a_revoke_of_a_task_that_runs_elsewhere_warns_of_no_missing_results(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        control._revoke(SimpleNamespace(app=app), ["a task of another worker"], terminate=True)
    assert caplog.messages == []
