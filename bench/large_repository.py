"""A repository of many files, the same in every run."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.deployment import Deployment, git

CHANGED = "src/m0/p0/f1.py"


def large_repository(deployment: Deployment, files: int) -> Path:
    """One commit on `main` of that many files, 20 to 120 lines each, in folders of 25 to 500."""
    path = deployment.folder / "repositories" / "large"
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--initial-branch=main")
    with subprocess.Popen(["git", "fast-import", "--quiet", "--done"], cwd=path, stdin=subprocess.PIPE) as importing:
        assert importing.stdin is not None
        importing.stdin.writelines(_commit(files))
    assert importing.returncode == 0
    return path


def _commit(files: int) -> Iterator[bytes]:
    chosen = random.Random(7)
    words = ["".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=chosen.randint(3, 9))) for _ in range(3000)]
    lines = [" ".join(chosen.choices(words, k=8)) + "\n" for _ in range(20_000)]
    yield b"commit refs/heads/main\ncommitter Ada <ada@example.org> 1700000000 +0000\ndata 6\nFirst\n"
    for number in range(files):
        text = "".join(chosen.choices(lines, k=chosen.randint(20, 120))).encode()
        yield f"M 100644 inline src/m{number // 500}/p{number // 25 % 20}/f{number}.py\ndata {len(text)}\n".encode()
        yield text + b"\n"
    yield b"done\n"
