"""A workspace of an `origin`, which each file of tests has its own fixture for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.repositories import make_job, prepare
from workers.job import Host, Job
from workers.workspace.workspace import Workspace


@pytest.fixture
def job(origin: Path) -> Job:
    return make_job(origin)


@pytest.fixture
def workspace(host: Host, job: Job) -> Workspace:
    """A workspace after a setup that did nothing."""
    made = prepare(job, host)
    made.after_setup()
    return made
