"""Deletes folders in the background: they are moved to the trash at once and deleted later, by one `rm` per host."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import uuid
from pathlib import Path

from workers.job import Host

# Neither command follows symbolic links in the folder, and both work at any depth. Permissions are rarely in the way.
_DELETE = """
delete() { rm -rf --one-file-system -- "$1"; }
trap "" TERM
{ delete "$1" || { chmod -R u+rwx -- "$1"; delete "$1"; }; } >/dev/null 2>&1 &
"""


def discard(host: Host, folder: Path) -> None:
    """Move `folder`, if it exists, to the trash, and start to empty it. If that fails, the sweep tries again."""
    if not os.path.lexists(folder):
        return
    trash = host.work_dir / "trash"
    with contextlib.suppress(OSError):
        trash.mkdir(mode=0o700, exist_ok=True)
        folder.rename(trash / f"{folder.name}.{uuid.uuid4().hex}")
    empty(host)


def empty(host: Host) -> None:
    """Start to delete everything in the trash, unless a deletion is running already.

    Deleting many files takes seconds and slows down every checkout made meanwhile. So there is one deleting process per
    host. It runs in the background, and holds the lock until it ends.
    """
    trash, deleting = host.work_dir / "trash", host.work_dir / "trash.deleting"
    with contextlib.suppress(OSError), open(host.work_dir / "trash.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not deleting.exists():
            trash.rename(deleting)
        subprocess.run(
            ["sh", "-c", _DELETE, "sh", str(deleting)],
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd=host.work_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock.fileno(),),
            start_new_session=True,
            check=False,
        )
