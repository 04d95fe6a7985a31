"""The rules of git-check-ref-format(1) for the name of a branch.

The API checks names too, by its own copy of the rules, because the web process loads no engine. Rows may be older.
"""

from __future__ import annotations

import re

from workers.errors import EngineError

_REFUSED = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|(^|/)\.|\.lock(/|\Z)|/\Z|^/|\.\Z|^-|^HEAD\Z")


def check_branch(name: str) -> None:
    """Raise EngineError `repository_refused` for a name that git does not allow for a branch."""
    if not name or _REFUSED.search(name) or not _is_text(name):
        message = f"{name!r} is not a branch name that git allows. Use another branch."
        raise EngineError("repository_refused", "checkout", message)


def _is_text(name: str) -> bool:
    """Whether the name can be written down: half of a character cannot."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False
