"""Check the sandbox on this machine, for the commands that start agents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from app.cli.processes import ROOT
from app.config import Settings


def find_fault(work_dir: Path, *options: str) -> str | None:
    """Why the sandbox does not work here, with the remedy; None if it works. Checked in another process."""
    command = [sys.executable, "-m", "workers.sandbox", "--work-dir", str(work_dir), *options]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode:
        return f"The check of the sandbox failed: {answer.stderr.strip()}"
    probe = json.loads(answer.stdout)
    return None if probe["ok"] else f"{probe['reason']} {probe['remedy']}"


def no_sandbox_warning(why: str, remedy: str) -> str:
    """The warning for a user who chose to run agents without a sandbox."""
    return (
        f"WARNING: AGENTS RUN WITHOUT A SANDBOX, because {why}. They can read and change your files, and have the "
        f"network access of this machine. {remedy}, unless you trust the agents and every repository."
    )


def find_warning(settings: Settings) -> str | None:
    """The warning to show when session workers start: agents have no sandbox, or none will run; None if all is well."""
    if settings.sandbox == "none":
        return no_sandbox_warning("AGENT_RUNNERS_SANDBOX is `none`", "Unset it")
    fault = find_fault(settings.work, "--uid", str(settings.sandbox_uid))
    if fault is None:
        return None
    return f"WARNING: NO AGENT WILL RUN, because the sandbox does not work here. Every session will fail. {fault}"
