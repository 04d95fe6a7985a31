"""Text from outside is shown without being obeyed, on both sides of the wall between engine and record."""

from __future__ import annotations

import html
from collections.abc import Callable

import pytest

from app.demo.forge.layout import escape
from app.escaping import readable

UNSEEN = [
    *map(chr, [*range(9), *range(0xB, 0x20), *range(0x7F, 0xA0)]),
    "\u061c",
    "\u200b",
    "\u200e",
    "\u200f",
    "\u2028",
]
UNSEEN += [
    "\u2029",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2060, 0x2070)),
    "\ufeff",
    "\u00ad",
    "\U000e0041",
]


@pytest.mark.parametrize("show", [readable, lambda text: html.unescape(escape(text))], ids=["product", "demo forge"])
def test_what_is_not_seen_is_escaped_and_the_rest_is_left(show: Callable[[str], str]) -> None:
    for character in UNSEEN:
        shown = show(f"a{character}b")
        assert character not in shown and "\\" in shown, hex(ord(character))
    plain = "Größe — «日本語»\u3000 🙂 <b>&amp;</b>\n\tend"
    assert show(plain) == plain
    assert show("a\x1b]0;gotcha\x07\r\tb\n") == "a\\x1b]0;gotcha\\x07\\r\tb\n"
    assert show("\ud800") == "\\ud800"
