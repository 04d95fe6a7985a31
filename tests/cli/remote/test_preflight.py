"""The checks of a site on the command line."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.models import Preflight
from app.services.preflights import preflights
from tests.cli.remote.conftest import Run

pytestmark = pytest.mark.same_on_both_databases


def test_the_checks_of_a_site_are_printed_when_a_worker_is_done(run: Run, site: dict[str, Any]) -> None:
    def work() -> None:
        found = None
        while found is None:
            time.sleep(0.02)
            with db.transaction(read_only=True):
                found = db.session.scalar(sa.select(Preflight.id))
        with db.transaction():
            preflights.record(found, [{"name": "push", "status": "ok", "code": None, "message": "It may."}])
        db.close()

    worker = threading.Thread(target=work)
    worker.start()
    found = run("sites", "check", "shop", "--agent", "claude")
    worker.join()
    assert found.status == 1, "there is no session worker"
    lines = [line.split("\t")[:3] for line in found.stdout.splitlines()]
    assert lines == [["failed", name, "no_worker"] for name in ("agent", "sandbox")] + [["ok", "push", ""]]
