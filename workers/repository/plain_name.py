"""Identifiers that are used as names of folders."""

from __future__ import annotations

import re


def plain_name(identifier: str) -> str:
    """`identifier`, checked for use as the name of a folder. We make the ids, so a bad one is a bug: ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", identifier):
        raise ValueError(f"not a plain identifier: {identifier!r}")
    return identifier
