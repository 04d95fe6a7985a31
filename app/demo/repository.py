"""The repositories of the demo's forge: a small sample, and clones of the user's own, which are only read."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.cli.errors import CommandError

SAMPLE = {
    "README.md": "# Greeter\n\nGreets people, politely.\n",
    "greeter/__init__.py": '"""Greets people."""\n',
    "greeter/greet.py": (
        'def greet(name):   \n    # TODO: greet people in their own language\n    return f"Hello, {name}!"\t\n'
    ),
    "greeter/__main__.py": (
        "import sys\n\nfrom greeter.greet import greet\n\n# FIXME: says nothing useful without a name\n"
        "for name in sys.argv[1:]:\n    print(greet(name))  \n"
    ),
}
_AUTHOR = ("-c", "user.name=Agent Runners", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Repository:
    """A bare repository in the forge's folder: its name and path, and the branch to work on."""

    name: str
    path: Path
    branch: str


def sample(folder: Path) -> Repository:
    """The sample repository, created on first use."""
    path = folder / "sample.git"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder, prefix=".sample-") as name:
            draft = Path(name)
            for file, text in SAMPLE.items():
                (draft / file).parent.mkdir(exist_ok=True)
                (draft / file).write_text(text)
            _git(draft, "init", "--quiet", "--initial-branch=main")
            _git(draft, "add", "--all")
            _git(draft, *_AUTHOR, "commit", "--quiet", "--message=A program that greets people")
            _clone(draft, path)
    return Repository("sample", path, "main")


def clone(original: Path, folder: Path) -> Repository:
    """An up-to-date clone of the user's repository that shares no files with it. Raises `CommandError`."""
    original = original.resolve()
    if not original.is_dir():
        raise CommandError(f"there is no folder {original}. Give --repo the path of a git repository")
    branch = _git(original, "branch", "--show-current")
    if not branch:
        raise CommandError(f"{original} is not on a branch. Check one out first")
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", original.name).strip("-") or "repository"
    path = folder / f"{plain}-{hashlib.sha256(bytes(original)).hexdigest()[:8]}.git"
    if path.exists():
        # Update the user's branches, and keep those that the demo pushed.
        _git(path, "fetch", "--quiet", "--no-tags", "origin", "+refs/heads/*:refs/heads/*")
    else:
        _clone(original, path)
    return Repository(path.stem, path, branch)


def _clone(source: Path, path: Path) -> None:
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=".clone-"))
    _git(draft, "clone", "--quiet", "--bare", "--no-hardlinks", "--", str(source), str(draft))
    draft.rename(path)


def has_uncommitted_changes(original: Path) -> bool:
    # Without optional locks, because `status` would otherwise write to the index of the user's repository.
    return bool(_git(original, "--no-optional-locks", "status", "--porcelain"))


def _git(folder: Path, *arguments: str) -> str:
    program = shutil.which("git")
    if program is None:
        raise CommandError("git is not installed. Install it: apt-get install git")
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise CommandError(f"git {arguments[0]} failed in {folder}: {done.stderr.strip()}")
    return done.stdout.strip()
