"""Case-insensitive comparison of text."""

from __future__ import annotations

import unicodedata

PROMPT_CHARACTERS = 2000
"""How much of a prompt can be searched."""


def folded(text: str) -> str:
    """`text` in a form that compares equal in any case and spelling: case-folded, in Unicode's form NFC.

    This is done here because databases differ: SQLite folds only ASCII, and Postgres depends on its locale.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def folded_words(text: str) -> str:
    """The same, with one space in place of all white space between words, for a text may be wrapped."""
    return " ".join(folded(text).split())
