"""Getting rid of folders without waiting for it: they are moved aside at once and deleted later, by one `rm` a host."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import uuid
from pathlib import Path

from workers.job import Host

# Neither command follows a symbolic link that it meets below the folder, and both manage any depth.
_DELETE = 'trap "" TERM; { chmod -R u+rwx -- "$1"; rm -rf --one-file-system -- "$1"; } >/dev/null 2>&1 &'


def discard(host: Host, folder: Path) -> None:
    """Move `folder`, where it exists, to the trash, and begin to empty that. A failure is left to the sweep."""
    if not os.path.lexists(folder):
        return
    trash = host.work_dir / "trash"
    with contextlib.suppress(OSError):
        trash.mkdir(mode=0o700, exist_ok=True)
        folder.rename(trash / f"{folder.name}.{uuid.uuid4().hex}")
    empty(host)


def empty(host: Host) -> None:
    """Begin to delete all that lies in the trash, unless somebody is at it already.

    Deleting many files takes seconds and slows down every checkout made meanwhile, so there is one deleter, which
    runs apart from us and holds the lock for as long as it lives.
    """
    trash, doomed = host.work_dir / "trash", host.work_dir / "trash.deleting"
    with contextlib.suppress(OSError), open(host.work_dir / "trash.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not doomed.exists():
            trash.rename(doomed)
        subprocess.run(
            ["sh", "-c", _DELETE, "sh", str(doomed)],
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd=host.work_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock.fileno(),),
            start_new_session=True,
            check=False,
        )
