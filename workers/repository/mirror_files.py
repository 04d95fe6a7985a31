"""The files of a mirror: made, cleaned up, merged and removed. The lock of the mirror is held."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

from workers.repository.git import Git

# With this many packs looking up an object becomes slow, so small packs are merged.
_MAX_PACKS = 24
_TEMPORARY = ("tmp_", ".tmp-")


def init_mirror(git: Git, object_format: str) -> Git:
    """Put an empty mirror of that format in the place of what is there. Returns `git`, which does not remember the old format."""
    new = git.directory.with_name(git.directory.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    options = ("--quiet", "--bare", "--template=", f"--object-format={object_format}")
    replace(git, directory=new).run("init", *options, str(new))
    remove_path(git.directory)
    new.rename(git.directory)
    return replace(git)


def remove_leftovers(mirror: Path) -> None:
    """Remove temporary files of killed commands."""
    # Each session waits for this, and `glob` takes several times as long.
    folders = [os.fspath(mirror), f"{mirror}/objects/pack", *(folder for folder, _, _ in os.walk(f"{mirror}/refs"))]
    for folder in folders:
        # A killed command may still be ending, and removes its own.
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as files:
            for file in files:
                if file.name.endswith(".lock") or file.name.startswith(_TEMPORARY):
                    Path(file).unlink(missing_ok=True)


def has_base(mirror: Path, sha: str) -> bool:
    """Whether the commit is a base of the mirror. Nothing packs these refs, so each is a file."""
    return (mirror / "refs" / "base" / sha).is_file() and (mirror / "config").is_file()


def merge_packs(git: Git) -> None:
    """Merge small packs, if there are many."""
    sizes = [pack.stat().st_size for pack in git.directory.glob("objects/pack/*.pack")]
    if len(sizes) >= _MAX_PACKS:
        # Each of these packs was within the limit, but not all of them together.
        limits = replace(git.limits, disk_bytes=2 * sum(sizes))
        replace(git, limits=limits).run("repack", "--geometric=2", "-d", "--quiet")


def remove_path(path: Path) -> None:
    """Remove a folder, or a file."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
