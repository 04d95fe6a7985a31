"""Git directories that borrow the objects of a mirror, so that nothing is copied."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from workers.job import Host
from workers.repository.git import Git

_ALTERNATES = Path("objects/info/alternates")
# Where they are in a host's folder. Others last no longer than the process that makes a base.
_BORROWERS = ("workspaces/*/ours.git", "publications/*")


def init_with_alternates(git: Git, mirror: Path) -> None:
    """Make the directory of `git` a bare repository that has every object of the mirror, and its shallow boundary."""
    for folder in ("objects/info", "objects/pack", "refs", "info"):
        (git.directory / folder).mkdir(parents=True)
    (git.directory / _ALTERNATES).write_text(f"{mirror / 'objects'}\n")
    # Git wrote these files for this file system when it made the mirror.
    for name in ("HEAD", "config"):
        shutil.copyfile(mirror / name, git.directory / name)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(mirror / "shallow", git.directory / "shallow")


def is_borrowed(host: Host, mirror: Path) -> bool:
    """Whether a workspace or a publication on this host borrows from the mirror."""
    for path in (path for borrowers in _BORROWERS for path in host.work_dir.glob(f"{borrowers}/{_ALTERNATES}")):
        # It may be removed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if path.read_text() == f"{mirror / 'objects'}\n":
                return True
    return False
