"""Runs sessions as the processes of a worker's pool do, and tells what each process did for itself.

python -m tests.tasks.pool_process: each line of the input is the id of a session, and each of the output what is told.
It first tries to start without its database.
The end of a process that tells nothing is the end of the program.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys

import tasks.worker
from app import db
from app.config import settings
from tasks.celery_app import MODULES, app, open_log, prepare_pool
from tasks.sessions import run_session
from tasks.startup.warm_up import warm_up
from tests.processes import do_in_child

COMPILED, FROM_CACHE = "generated in", "cached since"


def main() -> None:
    assert tasks.worker.app is app
    open_log()
    do_in_child(start_without_database)
    db.configure(settings().database)
    app.amqp.queues.select(["sessions"])
    app.conf.imports = MODULES["sessions"]
    app.loader.import_default_modules()
    prepare_pool()
    imported = set(sys.modules)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(line.strip(), imported)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
            sys.exit("The process ended before it told anything.")


def start_without_database() -> None:
    """Warm up as a worker does whose database is away. Its log goes to the standard error."""
    # After the worker, which says what is not to be imported.
    from billiard.util import get_pdeathsig, set_pdeathsig

    os.dup2(2, 1)
    # Without cffi, which only others need, a pool ends with its worker too.
    set_pdeathsig(signal.SIGKILL)
    assert get_pdeathsig() == signal.SIGKILL
    db.configure("sqlite:////nonexistent/test.db")
    warm_up()


def run(session_id: str, imported: set[str]) -> None:
    db.configure(settings().database)
    statements = Statements()
    log = logging.getLogger("sqlalchemy.engine")
    log.addHandler(statements)
    log.setLevel(logging.INFO)
    run_session.apply((session_id,), task_id="task")
    # What was refused is there as None.
    loaded = {name for name, module in sys.modules.items() if module is not None}
    found = {"modules": sorted(loaded), "new": sorted(loaded - imported)}
    print(json.dumps({**found, "compiled": statements.compiled, "cached": statements.cached}), flush=True)


class Statements(logging.Handler):
    """Which statements were compiled, and how many were taken from the cache."""

    def __init__(self) -> None:
        super().__init__()
        self.compiled: list[str] = []
        self.cached = 0
        self._statement = ""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said.startswith("["):
            self.cached += FROM_CACHE in said
            if COMPILED in said:
                self.compiled.append(self._statement)
        self._statement = said


if __name__ == "__main__":
    main()
