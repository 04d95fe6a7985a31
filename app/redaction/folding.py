"""Finds out quickly that most data holds no secret in any form, before each form is looked for.

Data and forms are folded: into lower case, without spaces and without what separates bytes. What holds a form holds the folded
form when it is folded, and many forms of a secret are the same then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SPACES, SEPARATORS = b"\r\n\t ", b":;,-"
"""Encoded forms may be split by spaces, and hexadecimal also by separators, and before each byte may be the `PREFIX`."""
PREFIX = b"0x"
_LOWER = bytes(range(256)).lower()


@dataclass(frozen=True)
class Forms:
    """Folded forms. Those that are `wide` have a NUL, as in UTF-16, which text has not."""

    narrow: tuple[bytes, ...]
    wide: tuple[bytes, ...]


def folded_forms(forms: Iterable[bytes]) -> Forms:
    """The forms, folded. Those that hold another one are left out: where they are, that one is."""
    kept: list[bytes] = []
    for form in sorted(set(map(_fold, forms)), key=len):
        if not any(each in form for each in kept):
            kept.append(form)
    return Forms(tuple(each for each in kept if b"\0" not in each), tuple(each for each in kept if b"\0" in each))


def may_hold(data: bytes, forms: Forms) -> bool:
    """Whether data may hold one of the forms as it is, or one that is split. False is certain."""
    folded = _fold(data)
    if any(form in folded for form in forms.narrow) or (b"\0" in folded and any(form in folded for form in forms.wide)):
        return True
    # The prefix cannot be left out here: it may begin with the last digit of a form. Numbers have many zeros, and rarely an x.
    return bool(forms.narrow) and PREFIX[1:] in folded and PREFIX in folded


def _fold(data: bytes) -> bytes:
    return data.translate(_LOWER, SPACES + SEPARATORS)
