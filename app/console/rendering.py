"""Makes HTML of what agents, repositories and people wrote. Nothing of it can do anything in the page.

The libraries are loaded when they are first needed: a web process that serves the API alone does without them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from markupsafe import Markup, escape

LONGEST_MARKDOWN = 100_000
"""Longer texts are shown as they are."""
LONGEST_HIGHLIGHTED = 200_000
LONGEST_LINE = 2_000
_TAGS = frozenset(
    [
        "p",
        "br",
        "hr",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "strong",
        "em",
        "s",
        "code",
        "pre",
        "ul",
        "ol",
        "li",
        "blockquote",
        "a",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    ]
)
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_OTHER_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff]")
_ATTRIBUTES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("strike",)}


def visible(text: str) -> str:
    """`text` where no character is hidden or changes the direction of others: each of those becomes a `\\x..` escape."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def markdown(text: str) -> Markup:
    """Markdown as HTML, without images, raw HTML and addresses other than http, https and mailto."""
    if len(text) > LONGEST_MARKDOWN:
        return Markup('<pre class="plain">{}</pre>').format(visible(text))
    import nh3

    html = nh3.clean(
        _markdown().render(visible(text)),
        tags=set(_TAGS),
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(html)  # nh3 allows the tags above and nothing else.


@functools.cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    # Images are left out because their addresses would be loaded; their text stays as a link.
    return MarkdownIt("js-default", {"html": False, "linkify": False, "breaks": True}).disable(["image"])


def ansi(text: str) -> Markup:
    """The output of a terminal, with its colours as classes. Other control sequences are left out."""
    parts: list[Markup] = []
    style: dict[str, str] = {}
    at = 0
    for found in _SGR.finditer(text):
        parts.append(_styled(text[at : found.start()], style))
        _apply(style, found[1])
        at = found.end()
    parts.append(_styled(text[at:], style))
    return Markup("").join(parts)


def _styled(text: str, style: dict[str, str]) -> Markup:
    plain = visible(_OTHER_SEQUENCES.sub("", text.replace("\r\n", "\n")))
    if not plain or not style:
        return escape(plain)
    return Markup('<span class="{}">{}</span>').format(" ".join(dict.fromkeys(style.values())), plain)


def _apply(style: dict[str, str], codes: str) -> None:
    """Change a style as the codes of a sequence say (ECMA-48, 8.3.117). Of 256 colours the first sixteen are known."""
    numbers = iter([int(code[:4]) if code else 0 for code in codes.split(";")])
    for number in numbers:
        if number == 0:
            style.clear()
        elif number in _ATTRIBUTES:
            style[_ATTRIBUTES[number]] = f"ansi-{_ATTRIBUTES[number]}"
        elif number in _ENDS:
            for name in _ENDS[number]:
                style.pop(name, None)
        elif number in (38, 48):
            colour = _indexed(numbers)
            _set_colour(style, "fg" if number == 38 else "bg", colour)
        elif number in (39, 49):
            style.pop("fg" if number == 39 else "bg", None)
        elif 30 <= number <= 37 or 90 <= number <= 97:
            _set_colour(style, "fg", number - 30 if number < 90 else number - 82)
        elif 40 <= number <= 47 or 100 <= number <= 107:
            _set_colour(style, "bg", number - 40 if number < 100 else number - 92)


def _indexed(numbers: Iterator[int]) -> int | None:
    kind = next(numbers, 0)
    if kind == 5:
        colour = next(numbers, 0)
        return colour if colour < 16 else None
    if kind == 2:
        for _ in range(3):
            next(numbers, 0)
    return None


def _set_colour(style: dict[str, str], place: str, colour: int | None) -> None:
    if colour is None:
        style.pop(place, None)
    else:
        style[place] = f"ansi-{place}-{colour}"


Tokens = list[tuple[str, str]]
"""A line as parts of it, each with the class that colours it."""


def highlighter(path: str) -> Callable[[list[str]], list[Tokens]]:
    """A function that divides the lines of a file into tokens, by the file's name."""
    lexer = _lexer(path.rsplit("/", 1)[-1])

    def divide(lines: list[str]) -> list[Tokens]:
        if lexer is None or sum(map(len, lines)) > LONGEST_HIGHLIGHTED:
            return [[("", line)] for line in lines]
        return _tokens(lexer, lines)

    return divide


@functools.lru_cache(maxsize=64)
def _lexer(name: str) -> Any:
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        return get_lexer_for_filename(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _tokens(lexer: Any, lines: list[str]) -> list[Tokens]:
    """The tokens of each line. One that spans lines is in each of them."""
    from pygments.token import STANDARD_TYPES

    rows: list[Tokens] = [[]]
    for kind, value in lexer.get_tokens("\n".join(lines)):
        while kind not in STANDARD_TYPES:
            kind = kind.parent
        first, *others = value.split("\n")
        rows[-1].append((STANDARD_TYPES[kind], first))
        rows.extend([(STANDARD_TYPES[kind], part)] for part in others)
    if len(rows) < len(lines):
        return [[("", line)] for line in lines]
    return rows[: len(lines)]


def coloured(tokens: Tokens, changed: list[tuple[int, int]]) -> Markup:
    """A line of code. The characters in the ranges `changed` are marked."""
    parts: list[Markup] = []
    at = 0
    for name, text in tokens:
        for part, is_changed in _divided(text, at, changed):
            shown = escape(visible(part))
            if is_changed:
                shown = Markup("<mark>{}</mark>").format(shown)
            parts.append(Markup('<span class="{}">{}</span>').format(name, shown) if name else shown)
        at += len(text)
    return Markup("").join(parts)


def _divided(text: str, at: int, ranges: list[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    """`text`, which begins at the character `at`, in parts that lie within one of the ranges or outside of all."""
    end = at + len(text)
    place = at
    for start, stop in ranges:
        start, stop = max(start, place), min(stop, end)
        if start < stop:
            if place < start:
                yield text[place - at : start - at], False
            yield text[start - at : stop - at], True
            place = stop
    if place < end:
        yield text[place - at :], False
