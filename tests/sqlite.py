"""A migrated SQLite database, made once for each test process: there are many migrations."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from migrations.config import migrate


@functools.cache
def _migrated() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="ar-sqlite-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "migrated.db"
    migrate(f"sqlite:///{path}")
    return path


def copy_migrated(path: Path) -> None:
    """Make `path`, which must not exist, a database without rows, in a folder that is created if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600, exist_ok=False)
    shutil.copyfile(_migrated(), path)
