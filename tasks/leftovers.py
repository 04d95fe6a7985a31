"""What attempts left behind on this host whose worker died. `python -m tasks.leftovers` removes it."""

from __future__ import annotations

import workers
from app import db
from app.config import settings
from app.logs import configure_logging
from app.services import execution
from tasks.jobs import this_host
from tasks.transactions import transact


def sweep_workspaces() -> None:
    """Remove the workspaces that no attempt is at work in any more."""
    # The folders are looked for first: one that is made later belongs to an attempt that this does not ask for.
    host = this_host()
    found = workers.find_workspaces(host)
    needed = transact(lambda: execution.find_attempts_at_work(found))
    workers.discard_workspaces(host, [folder for attempt, folder in found.items() if attempt not in needed])


if __name__ == "__main__":
    configure_logging("worker")
    db.configure(settings().database)
    sweep_workspaces()
