"""The repositories of the demo's forge: a small sample, and clones of the user's own, which are only ever read."""

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
        'def greet(name):   \n    # TODO: greet in the language of the one who is greeted\n    return f"Hello, {name}!"\t\n'
    ),
    "greeter/__main__.py": (
        "import sys\n\nfrom greeter.greet import greet\n\n# FIXME: says nothing useful without a name\n"
        "for name in sys.argv[1:]:\n    print(greet(name))  \n"
    ),
}
_AUTHOR = ("-c", "user.name=Agent Runners", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Repository:
    """A bare repository in the forge's folder: what it is called, where it lies, and the branch to work on."""

    name: str
    path: Path
    branch: str


def sample(folder: Path) -> Repository:
    """The sample repository, made once."""
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


def clone(theirs: Path, folder: Path) -> Repository:
    """A clone of the user's repository as it is now, without links into it; raises `CommandError`."""
    theirs = theirs.resolve()
    if not theirs.is_dir():
        raise CommandError(f"there is no folder {theirs}")
    branch = _git(theirs, "branch", "--show-current")
    if not branch:
        raise CommandError(f"{theirs} is on no branch; check one out first")
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", theirs.name).strip("-") or "repository"
    path = folder / f"{plain}-{hashlib.sha256(bytes(theirs)).hexdigest()[:8]}.git"
    if path.exists():
        # Their branches as they are now; those that the demo pushed stay.
        _git(path, "fetch", "--quiet", "--no-tags", "origin", "+refs/heads/*:refs/heads/*")
    else:
        _clone(theirs, path)
    return Repository(path.stem, path, branch)


def _clone(source: Path, path: Path) -> None:
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=".clone-"))
    _git(draft, "clone", "--quiet", "--bare", "--no-hardlinks", "--", str(source), str(draft))
    draft.rename(path)


def has_uncommitted_changes(theirs: Path) -> bool:
    # Without optional locks, since even `status` would otherwise write the index of a repository that is not ours.
    return bool(_git(theirs, "--no-optional-locks", "status", "--porcelain"))


def _git(folder: Path, *arguments: str) -> str:
    program = shutil.which("git")
    if program is None:
        raise CommandError("git is needed; install it (`apt-get install git`)")
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
