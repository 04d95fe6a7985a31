"""The notes of a workspace: what `Workspace.reopen` needs to save the work of a lost worker, and cannot derive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILE = "notes.json"
# Fields of `Workspace`.
_FIELDS = (
    *("base_sha", "base_tree", "start_tree", "session_tree"),
    *("_setup_tree", "_withholds", "_submodules", "_index_mark", "_lower", "_lfs_states", "_sparse_paths"),
)


def write(root: Path, fields: Mapping[str, Any]) -> None:
    """Write the notes of the workspace `root`, atomically. `fields` may have others as well, which are not written."""
    new = root / f"{_FILE}.new"
    new.write_text(json.dumps({name: fields[name] for name in _FIELDS}))
    new.replace(root / _FILE)


def take(root: Path) -> dict[str, Any] | None:
    """Read the notes and remove them. None if there are none."""
    try:
        fields: dict[str, Any] = json.loads((root / _FILE).read_bytes())
    except FileNotFoundError:
        return None
    remove(root)
    # A worker of an earlier release did not write this one.
    fields.setdefault("session_tree", fields["start_tree"])
    return fields


def remove(root: Path) -> None:
    """Remove the notes, if there are any."""
    (root / _FILE).unlink(missing_ok=True)
