"""Runs tests once more as a user who is not root, so that the agent and the worker are the same user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers.engine import IS_ROOT, ROOT, TOOLS

ORDINARY_USER = 12_345


def needs_root(test: Callable[[], None]) -> Callable[[], None]:
    """Mark a test that calls `run_again`: it needs a user to change from, and the time of a whole file."""
    reason = "NOT TESTED: an ordinary user beside root; run the tests as root too"
    return pytest.mark.timeout(3600)(pytest.mark.skipif(not IS_ROOT, reason=reason)(test))


def run_again(file: str) -> None:
    """Run the tests of a file, which pass but for the one that calls this: it is marked `needs_root`."""
    plugins = ("-p", "pytest_timeout", "-p", "xdist", "-p", "no:cacheprovider")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        os.chown(place, ORDINARY_USER, ORDINARY_USER)
        done = subprocess.run(
            [*_as_ordinary_user(), sys.executable, "-m", "pytest", "-q", *plugins, file, f"--basetemp={place}/tests"],
            cwd=ROOT,
            env={**TOOLS, "HOME": place, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "1 skipped" in done.stdout


def _as_ordinary_user() -> list[str]:
    """What to put before a command to run it as a user who can reach our interpreter and code wherever they lie."""
    needed = [Path(sys.base_prefix), Path(sys.prefix), ROOT]
    closed = {next((up for up in reversed(path.parents) if not up.stat().st_mode & 1), None) for path in needed}
    tops = [str(top) for top in closed if top]
    below = [str(path) for path in needed if any(path.is_relative_to(top) for top in tops)]
    script = ["set -e", "mount -t tmpfs tmpfs /mnt"]
    script += [f"mkdir /mnt/{number}; mount --bind '{path}' /mnt/{number}" for number, path in enumerate(below)]
    script += [f"mount -t tmpfs -o mode=755 tmpfs '{top}'" for top in tops]
    script += [f"mkdir -p '{path}'; mount --bind /mnt/{number} '{path}'" for number, path in enumerate(below)]
    user = f"--reuid={ORDINARY_USER} --regid={ORDINARY_USER} --clear-groups"
    return ["unshare", "--mount", "sh", "-c", "\n".join([*script, f'exec setpriv {user} "$@"']), "sh"]
