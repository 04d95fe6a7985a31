"""Run the demonstration forge, to which the demo publishes: git over HTTP, and pull requests with GitHub's rules."""

from __future__ import annotations

import contextlib
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from app.cli.errors import CommandError
from app.cli.processes import ROOT, end_with_parent, free_port
from app.deployment_secrets import made_once

OWNER = "demo"


@dataclass(frozen=True)
class Forge:
    """A running forge. The token may push and open pull requests."""

    url: str
    token: str = field(repr=False)

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/v3"

    def repository_url(self, name: str) -> str:
        return f"{self.url}/{OWNER}/{name}.git"


@contextlib.contextmanager
def forge(folder: Path, port: int) -> Iterator[Forge]:
    """Serve the bare repositories in `folder / OWNER`; raises `CommandError` if the forge does not start."""
    token_file = folder / "token"
    token = made_once(token_file, secrets.token_urlsafe(24))
    command = [sys.executable, "-m", "app.demo.forge", "--root", str(folder), "--token-file", str(token_file)]
    log = folder / "log.txt"
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [*end_with_parent(), *command, "--port", str(free_port(port))],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise CommandError(f"the demo's forge did not start. See {log} for the reason")
        yield Forge(found[0], token)
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
