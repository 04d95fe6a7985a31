"""Programs that a worker starts beside itself, for work that is not urgent and may take long."""

from __future__ import annotations

import subprocess
import sys

from app import db
from app.config import settings
from app.logs import configure_logging
from workers.processes.command import lower_priority


def start_in_background(module: str) -> None:
    """Run a module as a program. A shell starts it and exits, so the worker has no child process to reap."""
    command = ["sh", "-c", '"$@" &', "sh", sys.executable, "-m", module]
    subprocess.run(command, stdin=subprocess.DEVNULL, start_new_session=True, check=False)


def prepare() -> None:
    """What such a program does first. Running sessions have priority."""
    lower_priority()
    configure_logging("worker")
    db.configure(settings().database)
