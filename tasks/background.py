"""Programs that a worker starts beside itself, for work that is not urgent and may take long."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading

from app import db
from app.config import settings
from app.logs import configure_logging
from workers.processes.command import give_way


def start_in_background(module: str, *, ends_with_us: bool = False) -> None:
    """Run a module as a program. A shell starts it and exits, so the worker has no child process to reap.

    With `ends_with_us` its standard input ends when this worker and its processes have ended, see `end_with_worker`.
    """
    stdin = _lifetime() if ends_with_us else subprocess.DEVNULL
    # A shell gives what it starts in the background no input, unless one is named.
    command = ["sh", "-c", '"$@" <&3 3<&- &', "sh", sys.executable, "-m", module]
    subprocess.run(
        ["sh", "-c", 'exec 3<&0; exec "$@"', "sh", *command], stdin=stdin, start_new_session=True, check=False
    )


@functools.cache
def _lifetime() -> int:
    """The reading end of a pipe that no one writes to. Its other end stays open as long as this process."""
    reading, _ = os.pipe()
    return reading


def end_with_worker() -> None:
    """End this program as soon as the worker that started it has ended. What it has started ends with it."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(0)

    threading.Thread(target=wait, name="end_with_worker", daemon=True).start()


def prepare() -> None:
    """What such a program does first. Running sessions have priority."""
    give_way()
    configure_logging("worker")
    db.configure(settings().database)
