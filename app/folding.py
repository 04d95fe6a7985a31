"""Case-insensitive comparison of text."""

from __future__ import annotations

import unicodedata


def folded(text: str) -> str:
    """`text` in a form that compares equal in any case and spelling: case-folded, in Unicode's form NFC.

    This is done here because databases differ: SQLite folds only ASCII, and Postgres depends on its locale.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
