"""Changes the owner of files to the user that an agent runs as. Only root can do this."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from workers.safe_walk import walk


def change_owner(top: Path, uid: int) -> None:
    """Make `uid` the owner of `top` and everything in it. Links are not followed. Raises OSError.

    What it owns already is not touched: that would count as a change of the file.
    """
    os.chown(top, uid, uid, follow_symlinks=False)
    if not stat.S_ISDIR(os.lstat(top).st_mode):
        return
    for folder in walk(top):
        os.chown(folder.descriptor, uid, uid)
        with os.scandir(folder.descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folder.subfolders.append(entry.name)
                elif entry.stat(follow_symlinks=False).st_uid != uid:
                    os.chown(entry.name, uid, uid, dir_fd=folder.descriptor, follow_symlinks=False)
