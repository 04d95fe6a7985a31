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
# In code and text, from rare to common; what is not a letter or digit is rarer still. In data such as numbers, most are missing.
_RARE = b"qjzxkvwybgfphmucdlnirsoate9876543210"


@dataclass(frozen=True)
class Forms:
    """Folded forms, each after the rarest of its bytes. Those that are `wide` have a NUL, as in UTF-16, which text has not."""

    narrow: tuple[tuple[bytes, bytes], ...]
    wide: tuple[tuple[bytes, bytes], ...]


def folded_forms(forms: Iterable[bytes]) -> Forms:
    """The forms, folded. Those that hold another one are left out: where they are, that one is."""
    kept: list[bytes] = []
    for form in sorted(set(map(_fold, forms)), key=len):
        if not any(each in form for each in kept):
            kept.append(form)
    # A form may consist of separators only. Nothing is left of it then, and that is everywhere.
    found = [(bytes(sorted(form, key=_RARE.find)[:1]), form) for form in kept]
    return Forms(tuple(each for each in found if 0 not in each[1]), tuple(each for each in found if 0 in each[1]))


def may_hold(data: bytes, forms: Forms) -> bool:
    """Whether data may hold one of the forms as it is, or one that is split. False is certain."""
    folded = _fold(data)
    # A single byte is found much faster.
    possible = forms.narrow + forms.wide if 0 in folded else forms.narrow
    if any(byte in folded and form in folded for byte, form in possible):
        return True
    # The prefix cannot be left out here: it may begin with the last digit of a form. Numbers have many zeros, and rarely an x.
    return bool(forms.narrow) and PREFIX[1:] in folded and PREFIX in folded


def _fold(data: bytes) -> bytes:
    return data.translate(_LOWER, SPACES + SEPARATORS)
