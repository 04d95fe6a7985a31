"""Fetches that other processes make. They import this module, and not all of a file of tests."""

from __future__ import annotations

from pathlib import Path

from tests.workers.engine import beating
from tests.workers.repositories import fetch_base, make_host, make_job


def fetch_into(work_dir: Path, origin: Path) -> str:
    """Fetch the commit that a job starts from, and return it."""
    return fetch_base(make_host(work_dir), make_job(origin))


def fetch_for_ever(work_dir: Path, url: str, lease: float) -> None:
    """Fetch from a server that never answers, for as long as this process runs, or its lease if it is frozen."""
    host = make_host(work_dir, allowed_protocols=("http",), allow_private_addresses=True)
    fetch_base(host, make_job(url, lifeline=beating(lease)))
