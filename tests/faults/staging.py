"""Git that stops itself before it stages the work of a session, so that no test has to catch it at that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

STOP_STAGING = "stop-staging"
"""The name of a file in a deployment's folder. The next `git add` takes it away and stops; those after it run."""

_GIT = """#!/bin/sh
case " $* " in
*" add "*) mv '{mark}' '{mark}.taken' 2>/dev/null && kill -STOP $$ ;;
esac
exec '{git}' "$@"
"""


def path_with_git_that_stops(folder: Path) -> dict[str, str]:
    """The variables of a deployment in that folder whose git stops as `STOP_STAGING` says."""
    git = shutil.which("git")
    assert git
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(_GIT.format(mark=folder / STOP_STAGING, git=git))
    program.chmod(0o755)
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


def has_stopped(folder: Path) -> bool:
    """Whether the mark was taken; forgets it, for the next one."""
    try:
        (folder / f"{STOP_STAGING}.taken").unlink()
    except FileNotFoundError:
        return False
    return True
