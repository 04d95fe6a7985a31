"""Whether checkouts can be overlays on this machine: tried once, with a sandbox as sessions use it.

It needs root, a sandbox, and a kernel and file system that allow overlay mounts. Elsewhere each attempt has a whole
checkout of its own.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from workers.errors import EngineError
from workers.job import Host, Limits
from workers.limits.budget import Budget
from workers.limits.command import running
from workers.processes.lifeline import Lifeline
from workers.sandbox import open_sandbox
from workers.sandbox.base import Overlay, TrialDirectories
from workers.workspace.overlay import scan
from workers.workspace.ownership import change_owner

log = logging.getLogger(__name__)

_SECONDS = 20.0
_SCRIPT = """set -e
test "$(cat kept)" = base
mv moved away
rm gone
echo new > added
chmod +x kept
"""
_TOUCHED = [b"added", b"away/inside", b"kept"], [b"gone", b"moved"]
_known: dict[Host, bool] = {}


def can_overlay(host: Host) -> bool:
    """Whether a checkout can be an overlay. The answer is kept for this process and those that it forks."""
    if not host.overlay or host.sandbox != "bubblewrap" or sys.platform != "linux" or os.geteuid() != 0:
        return False
    if host not in _known:
        _known[host] = _try(host)
    return _known[host]


def _try(host: Host) -> bool:
    try:
        host.work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="probe-", dir=host.work_dir) as folder:
            return _works(Path(folder), host)
    except (EngineError, OSError) as error:
        log.info("checkouts are no overlays: %s", error)
        return False


def _works(folder: Path, host: Host) -> bool:
    directories = TrialDirectories.create(folder)
    lower, work = folder / "lower", folder / "work"
    for each in (lower, lower / "moved", work):
        each.mkdir()
    for name in ("kept", "gone", "moved/inside"):
        (lower / name).write_text("base")
    for each in (directories.checkout, directories.home, lower):
        change_owner(each, host.sandbox_uid)
    overlay = Overlay(lower, directories.checkout, work)
    sandbox = open_sandbox(host, replace(directories, overlay=overlay), Limits(), None)
    budget = Budget(Limits(max_duration_seconds=_SECONDS))
    launch = sandbox.launch(["sh", "-c", _SCRIPT], {})
    with running(launch, lifeline=Lifeline(_SECONDS), budget=budget, stage="setup", merged=True) as process:
        output = " ".join(line.text for line in process.lines() if line)
    if process.status != 0:
        log.info("checkouts are no overlays: %s", output)
        return False
    is_unchanged = sorted(os.listdir(lower)) == ["gone", "kept", "moved"]
    touched = scan(overlay)
    return is_unchanged and (sorted(touched.files), sorted(touched.gone)) == _TOUCHED
