"""The two formats of a repository's object ids: SHA-1, and SHA-256 in those that were made so. A repository has one."""

from __future__ import annotations

from pathlib import Path

ID_LENGTHS = {"sha1": 40, "sha256": 64}
"""The number of hexadecimal digits of an id, by the format's name, which is also that of the digest."""
ID = r"(?:[0-9a-f]{40}|[0-9a-f]{64})"
"""The regular expression of a full id in either format."""
_SHA256_SETTING = "objectformat = sha256"


def object_format(directory: Path) -> str:
    """The format of a git directory of ours, from the configuration that git wrote when it made the mirror."""
    return "sha256" if _SHA256_SETTING in (directory / "config").read_text().lower() else "sha1"


def other_format(name: str) -> str:
    """The format that is not the named one."""
    return "sha1" if name == "sha256" else "sha256"
