"""A program in the place of the system's bubblewrap, for what happens where that is old or does not work."""

from __future__ import annotations

import os
from pathlib import Path

REFUSED = '[ "$1" = --version ] && echo bubblewrap 0.9.0 || { echo no permission to make namespaces >&2; exit 1; }'
OLD = "echo bubblewrap 0.4.1"


def fake_bubblewrap(folder: Path, script: str) -> str:
    """Write one that runs `script`, and return a search path that finds it first."""
    folder.mkdir(exist_ok=True)
    program = folder / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return os.pathsep.join([str(folder), *os.get_exec_path()])
