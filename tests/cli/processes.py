"""Run the command line in tests, with its own data folder and without the tester's settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bubblewrap import REFUSED, fake_bubblewrap
from tests.program import run_program

PROGRAM = str(Path(sys.executable).with_name("agent-runners"))


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """An environment in which all data is below `folder`."""
    runtime = folder / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_RUNNERS_")}
    given = {"DATA_DIR": str(folder / "data"), "WEB_PROCESSES": "1", "MIRROR_REFRESH_SECONDS": "0", **settings}
    mine = {f"AGENT_RUNNERS_{name}": value for name, value in given.items()}
    return {**clean, "XDG_RUNTIME_DIR": str(runtime), **mine}


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return run_program([*arguments], environment(folder, **settings))


def findings(folder: Path, **settings: str) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]]:
    """How `doctor` ended, and what it says of each part.

    Sandboxes, and agents other than the shell, take it longest to look at. They have tests of their own.
    """
    done = run(folder, "doctor", "--json", **{"SANDBOX": "none", "AGENTS": "shell", **settings})
    return done, {each["part"]: each for each in map(json.loads, done.stdout.splitlines())}


def finding(folder: Path, part: str, **settings: str) -> dict[str, Any]:
    """What `doctor` says of a part."""
    return findings(folder, **settings)[1][part]


def wait_for(what: str, probe: Callable[[], object], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.05)


def path_with_refused_bubblewrap(folder: Path) -> str:
    """A PATH with a bubblewrap that fails as if user namespaces were forbidden."""
    return fake_bubblewrap(folder / "tools", REFUSED)
