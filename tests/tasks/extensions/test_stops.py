"""A pool that is stopped ends, whatever becomes of its processes, and each task is interrupted or requeued."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the tasks of pools that were stopped in different situations say."""
    folder = tmp_path_factory.mktemp("stopped")
    process = subprocess.Popen([sys.executable, "-m", "tests.tasks.stopped_pools", str(folder)], process_group=0)
    try:
        assert process.wait() == 0
    finally:
        # What a stop has left, if it did not end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return {each.name: sorted(found.name for found in each.iterdir()) for each in folder.iterdir()}


def test_a_task_is_interrupted(said):
    assert said["while_it_runs"] == ["begun", "interrupted", "stopped"]


def test_a_task_is_interrupted_before_its_process_has_confirmed_it(said):
    """Celery knows nothing of it yet, and would wait for its end."""
    assert said["before_it_is_confirmed"] == ["begun", "interrupted", "stopped"]


def test_so_is_one_that_was_sent_before_the_connection_to_the_broker_was_lost(said):
    situation = "before_it_is_confirmed_and_after_a_lost_connection"
    assert said[situation] == ["begun", "interrupted", "stopped"]


def test_a_task_that_ends_in_time_is_not_interrupted(said):
    assert said["while_it_ends"] == ["begun", "finished", "stopped"]


def test_a_process_that_does_not_listen_is_killed(said):
    assert said["while_it_does_not_listen"] == ["begun", "stopped"]


def test_the_task_of_a_process_that_was_killed_is_requeued_although_no_process_is_left(said):
    assert said["after_all_processes_were_killed"] == ["begun", "requeued task", "stopped"]


def test_processes_are_started_again_after_the_machine_had_none_left(said):
    assert said["after_no_process_could_be_started"] == ["begun", "interrupted", "stopped"]
