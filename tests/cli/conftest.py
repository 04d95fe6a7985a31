"""A short folder: a unix socket's path has room for about 100 characters."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ar-cli-") as path:
        yield Path(path)
