"""Small file systems that really get full, for tests that root runs where mounts are allowed."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: only root mounts a small file system; run the tests as root"
)


@contextlib.contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[None]:
    """Mount one over the folder."""
    options = f"size={megabytes}m,mode=0755"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("NOT TESTED: this machine allows no mounts")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
