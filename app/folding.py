"""Comparing text in any case."""

from __future__ import annotations

import unicodedata


def folded(text: str) -> str:
    """`text` as it compares with others in any case and spelling: case-folded, in Unicode's form NFC.

    It is done here because databases differ: SQLite only folds ASCII, and Postgres what its locale knows.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
