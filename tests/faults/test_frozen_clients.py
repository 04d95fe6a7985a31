"""A process that is frozen within a transaction holds its locks no longer than the database lets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from app import db
from migrations.config import migrate
from tests.postgres import postgres_database

HOLDING = """
import os, signal, sys
from app import db
db.configure(sys.argv[1])
with db.transaction():
    db.lock("claim")
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""
# The limit is half a minute; everything above that is the machine's.
FREED_WITHIN_SECONDS = 90.0


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with postgres_database() as url:
        migrate(url)
        yield url


def test_a_worker_that_is_frozen_during_a_claim_does_not_keep_the_others_from_claiming(postgres_url: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDING, postgres_url], stdout=subprocess.PIPE, text=True) as frozen:
        try:
            assert frozen.stdout is not None and frozen.stdout.readline() == "held\n"
            db.configure(postgres_url)
            asked_at = time.monotonic()
            with db.transaction():
                db.lock("claim")
            assert 5 < time.monotonic() - asked_at < FREED_WITHIN_SECONDS, "it waited, and not for ever"
        finally:
            os.kill(frozen.pid, signal.SIGKILL)
