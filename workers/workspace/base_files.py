"""The files of a base, for checkouts that are overlays: made once, owned by the agent's user, and never written to again.

They are only ever the lower layer of an overlay. Nothing binds them into a sandbox.

Bases share no files. A hard link would change the status time of the file in the older base, so that git would read all of
them again in each of its sessions, and programs such as gzip refuse files with several links. Copying them takes as long as
checking them out.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from workers.job import Host
from workers.repository.git import Git
from workers.repository.trees import unchanged_time
from workers.safe_walk import walk
from workers.workspace import trash
from workers.workspace.agent_repository import adapt_index, copy_index, create_repository
from workers.workspace.base import Base
from workers.workspace.ownership import change_owner
from workers.workspace.preparation import make_git_directory

# Git reads a file again whose time is that of the index. The agent's git should not read all of them.
_AGE_SECONDS = 10


def open_files(host: Host, base: Base, mirror: Git) -> Path:
    """The folder with the files of a base that is held, and an agent's repository. Made if it is not there yet.

    The repository has no branch. Its index shows files that are withheld as not checked out; `index_of` shows all.
    Raises OSError and what `Git.run` does.
    """
    folder = base.folder / f"files-{host.sandbox_uid}"
    if not folder.is_dir():
        new = Path(tempfile.mkdtemp(prefix=f"{base.sha}.", dir=base.folder.parent))
        try:
            _make(new, base, mirror, host.sandbox_uid)
            os.replace(new / "index", index_of(folder))
            os.replace(new / "size", size_of(folder))
            # Another attempt may have made them meanwhile; then those are used.
            with suppress(OSError):
                (new / "files").rename(folder)
        finally:
            trash.discard(host, new)
    return folder


def index_of(folder: Path) -> Path:
    """The index of these files with what is withheld as well."""
    return folder.with_name(f"{folder.name}.index")


def size_of(folder: Path) -> Path:
    """A file with the number of bytes that these files occupy."""
    return folder.with_name(f"{folder.name}.size")


def _make(new: Path, base: Base, mirror: Git, uid: int) -> None:
    files = new / "files"
    files.mkdir(mode=0o700)
    git = replace(mirror, directory=new / "git", index=new / "index", work_tree=files)
    make_git_directory(git, mirror.directory)
    shutil.copyfile(base.index, new / "index")
    git.run("checkout-index", "--all", "--force", "--quiet", "--index")
    change_owner(files, uid)
    (new / "size").write_text(str(_set_times(files)))
    # The index records the owner and the times of each file.
    git.run("update-index", "-q", "--refresh")
    repository = files / ".git"
    create_repository(repository, base)
    copy_index(new / "index", repository)
    with unchanged_time(repository / "index"):
        adapt_index(replace(git, index=repository / "index"), base, (), base.facts.withheld)
    change_owner(repository, uid)


def _set_times(files: Path) -> int:
    """Make the files a little older. Returns the bytes that they occupy."""
    then = time.time() - _AGE_SECONDS
    occupied = 0
    for folder in walk(files):
        with os.scandir(folder.descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folder.subfolders.append(entry.name)
                else:
                    occupied += entry.stat(follow_symlinks=False).st_blocks * 512
                    os.utime(entry.name, (then, then), dir_fd=folder.descriptor, follow_symlinks=False)
    return occupied
