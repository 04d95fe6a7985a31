"""A pool that is stopped ends, whatever becomes of its processes, and each task is interrupted or requeued."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.program import Started


def test_a_stopped_pool_interrupts_or_requeues_each_task_and_ends(tmp_path: Path) -> None:
    folder, log = tmp_path / "pools", tmp_path / "log"
    folder.mkdir()
    process = Started([str(folder)], os.environ, log, "tests.tasks.stopped_pools")
    try:
        assert process.wait() == 0, log.read_text()
    finally:
        # What a stop has left, if it did not end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert {each.name: sorted(found.name for found in each.iterdir()) for each in folder.iterdir()} == {
        "while_it_runs": ["begun", "interrupted", "stopped"],
        "while_another_process_ends": ["begun", "interrupted", "requeued other", "stopped"],
        # Celery knows nothing of it yet, and would wait for its end.
        "before_it_is_confirmed": ["begun", "interrupted", "stopped"],
        "before_it_is_confirmed_and_after_a_lost_connection": ["begun", "interrupted", "stopped"],
        # One that ends in time is not interrupted.
        "while_it_ends": ["begun", "finished", "stopped"],
        # A process that does not listen is killed.
        "while_it_does_not_listen": ["begun", "stopped"],
        # The task is requeued although no process is left.
        "after_all_processes_were_killed": ["begun", "requeued task", "stopped"],
        # Processes are started again.
        "after_no_process_could_be_started": ["begun", "interrupted", "stopped"],
    }
