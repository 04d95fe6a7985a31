"""Ends what a worker that was killed has left at work on the host."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def end_git_in(folder: Path) -> None:
    """Kill each git process whose working directory is in `folder`, which no worker uses any more.

    Git that contacts a remote ends with its worker, see `Git`. Other commands do not, and a hostile repository can make one run
    for hours. Does nothing where there is no /proc.
    """
    place = os.path.realpath(folder)
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        # A process may end meanwhile, or belong to another user.
        with contextlib.suppress(OSError):
            if name.isdigit() and _is_git(name) and Path(os.readlink(f"/proc/{name}/cwd")).is_relative_to(place):
                os.kill(int(name), signal.SIGKILL)


def _is_git(pid: str) -> bool:
    return Path(f"/proc/{pid}/comm").read_text(errors="replace").startswith("git")
