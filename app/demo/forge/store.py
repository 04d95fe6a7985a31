"""Pull requests in SQLite: each change is one transaction, and all of them outlive the process."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Pull:
    """One pull request. While it is open, the shas are those of its branches; then, those it ended with."""

    repository: str
    number: int
    title: str
    body: str | None
    author: str
    draft: bool
    state: str
    head: str
    base: str
    head_sha: str
    base_sha: str
    created_at: str
    updated_at: str
    closed_at: str | None = None
    merged_at: str | None = None
    merge_commit_sha: str | None = None

    @property
    def is_open(self) -> bool:
        return self.state == "open"


_COLUMNS = [field.name for field in fields(Pull)]
# The index says once more, for whatever the rules above it overlook, that there are no two for the same branches.
_TABLES = f"""
CREATE TABLE IF NOT EXISTS pulls ({", ".join(_COLUMNS)}, PRIMARY KEY (repository, number));
CREATE UNIQUE INDEX IF NOT EXISTS one_open ON pulls (repository, head, base) WHERE state = 'open';
"""


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """The table. Callers hold the lock of `Pulls`; threads share the connection one after the other."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        # A write then waits for no disk: whatever happens to the process loses nothing, and a power cut little.
        self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        self._database.executescript(_TABLES)

    def pulls(self, repository: str) -> list[Pull]:
        """All of one repository, the newest first."""
        rows = self._database.execute("SELECT * FROM pulls WHERE repository = ? ORDER BY number DESC", [repository])
        return [Pull(**{**dict(row), "draft": bool(row["draft"])}) for row in rows]

    def add(self, repository: str, **values: Any) -> Pull:
        """A new one, open, with the next number of its repository."""
        [(number,)] = self._database.execute(
            "SELECT coalesce(max(number), 0) + 1 FROM pulls WHERE repository = ?", [repository]
        )
        moment = now()
        pull = Pull(repository, number, state="open", created_at=moment, updated_at=moment, **values)
        marks = ", ".join(f":{column}" for column in _COLUMNS)
        self._database.execute(f"INSERT INTO pulls VALUES ({marks})", asdict(pull))
        return pull

    def change(self, pull: Pull, **values: Any) -> Pull:
        """`pull` with new values."""
        changed = replace(pull, updated_at=now(), **values)
        marks = ", ".join(f"{column} = :{column}" for column in _COLUMNS)
        self._database.execute(
            f"UPDATE pulls SET {marks} WHERE repository = :repository AND number = :number", asdict(changed)
        )
        return changed

    def close(self) -> None:
        self._database.close()
