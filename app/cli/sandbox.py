"""Whether agents are held by a sandbox on this machine, for the commands that start them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from app.cli.processes import ROOT
from app.config import Settings


def find_fault(work_dir: Path, *options: str) -> str | None:
    """What keeps the sandbox from working here, with the remedy, or None. The engine is asked in a process of its own."""
    command = [sys.executable, "-m", "workers.sandbox", "--work-dir", str(work_dir), *options]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode:
        return f"The sandbox could not be tried: {answer.stderr.strip()}"
    probe = json.loads(answer.stdout)
    return None if probe["ok"] else f"{probe['reason']} {probe['remedy']}"


def warn_of_none(why: str, remedy: str) -> str:
    """What is told where somebody chose to run agents as ordinary processes."""
    return (
        f"WARNING: AGENTS RUN WITHOUT A SANDBOX, because {why}. They can read and change whatever you can, and reach "
        f"whatever this machine reaches. {remedy}, unless you trust them and every repository."
    )


def find_warning(settings: Settings) -> str | None:
    """What a person who starts session workers is to know: that nothing holds agents, or that none will run."""
    if settings.sandbox == "none":
        return warn_of_none("AGENT_RUNNERS_SANDBOX is `none`", "Unset it")
    fault = find_fault(settings.work, "--uid", str(settings.sandbox_uid))
    if fault is None:
        return None
    return f"WARNING: NO AGENT WILL RUN, because the sandbox does not work here: each session will fail. {fault}"
