"""Check whether the demo's agent can run on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from app.cli.errors import CommandError
from app.cli.processes import ROOT


def check_agent(name: str) -> None:
    """Raises `CommandError`, with the remedy, if the agent's program or its key is missing."""
    command = [sys.executable, "-m", "workers.agents", name]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode:
        raise CommandError(f"could not check whether {name} is installed: {answer.stderr.strip()}")
    found = json.loads(answer.stdout)
    if found["missing"]:
        raise CommandError(found["missing"])
    if found["key"] and not os.environ.get(found["key"]):
        raise CommandError(f"{name} needs a key for its model. Set it with: export {found['key']}=...")
