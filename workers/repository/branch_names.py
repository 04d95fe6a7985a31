"""The rules of git-check-ref-format(1) for the name of a branch.

The API checks names too, by its own copy of the rules, because the web process loads no engine. Rows may be older.
"""

from __future__ import annotations

import re

from workers.errors import EngineError

_REFUSED = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|(^|/)\.|\.lock(/|\Z)|/\Z|^/|\.\Z|^-|^HEAD\Z")


def check_branch(name: str) -> None:
    """Raise EngineError `repository_refused` for a name that git does not allow for a branch."""
    if not is_branch_name(name):
        message = f"{name!r} is not a branch name that git allows. Use another branch."
        raise EngineError("repository_refused", "checkout", message)


def is_branch_name(name: str) -> bool:
    return bool(name) and not _REFUSED.search(name) and _is_text(name)


def _is_text(name: str) -> bool:
    """Whether the name can be written down: half of a character cannot."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False
