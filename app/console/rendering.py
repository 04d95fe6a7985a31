"""Makes HTML of what agents, repositories and people wrote. Nothing of it can do anything in the page.

The libraries are loaded when they are first needed: a web process that serves the API alone does without them.
"""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import g, has_request_context
from markupsafe import Markup, escape

LONGEST_MARKDOWN = 20_000
"""Longer texts are shown as they are. Brackets take time that grows with the square of their number."""
LONGEST_KEPT = 4_000
"""The HTML of shorter texts is kept for a while, for few MiB."""
MOST_SECONDS = 1.0
"""After so much processor time for Markdown and colours, the rest of a page is shown as it is: no page may delay others."""
LONGEST_HIGHLIGHTED = 200_000
LONGEST_LINE = 2_000
# Some lexers of other languages take minutes for a line of 2,000 characters, in which this process answers no one.
_LANGUAGES = frozenset(
    [
        *("Bash", "Batchfile", "C", "C#", "C++", "CMake", "CSS", "Clojure", "CoffeeScript", "D", "Dart"),
        *("Delphi", "Diff", "Docker", "Elixir", "Elm", "Erlang", "F#", "Fish", "Fortran", "GDScript", "GLSL"),
        *("Go", "GraphQL", "Groovy", "HTML", "HTML+Django/Jinja", "Haskell", "INI", "JSON", "JSX", "Java"),
        *("JavaScript", "Jsonnet", "Julia", "Kotlin", "LessCss", "Lua", "Makefile", "Markdown", "Meson"),
        *("Nginx configuration file", "Nimrod", "Nix", "OCaml", "Objective-C", "PHP", "Perl", "PowerShell"),
        *("Prolog", "Properties", "Protocol Buffer", "Python", "ReasonML", "Ruby", "Rust", "S", "SCSS"),
        *("SQL", "Sass", "Scala", "Scheme", "Solidity", "Swift", "TOML", "TSX", "Tcl", "TeX", "Terraform"),
        *("Text only", "TypeScript", "VimL", "Vue", "WebAssembly", "XML", "YAML", "Zig", "reStructuredText"),
        *("systemverilog", "verilog"),
    ]
)
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
_COLOURS = re.compile(r"\x1b\[([0-9;]*)m")
_OTHER_SEQUENCES = re.compile(
    rf"(?!{_COLOURS.pattern})\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)"
)
# Control characters, direction marks, and characters that take no space: text can be hidden in tags and in the second
# range of variation selectors. The joiners, and the selectors of emoji, are part of words.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_CONTROLS_BUT_ESCAPE = re.compile(rf"{_CONTROLS.pattern}(?<!\x1b)")
_ATTRIBUTES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("strike",)}


def visible(text: str) -> str:
    """`text` where no character is hidden or changes the direction of others: each of those becomes a `\\x..` escape."""
    return _CONTROLS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def markdown(text: str) -> Markup:
    """Markdown as HTML, without images, raw HTML and addresses other than http, https and mailto."""
    if len(text) > LONGEST_MARKDOWN or not _has_time():
        return Markup('<pre class="plain">{}</pre>').format(visible(text))
    with _counted():
        return _html_again(text) if len(text) <= LONGEST_KEPT else _html(text)


def _html(text: str) -> Markup:
    import nh3

    html = nh3.clean(
        _markdown().render(visible(text)),
        tags=set(_TAGS),
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(html)  # nh3 allows the tags above and nothing else.


# People come back to a run, and each time its page has the messages of before.
_html_again = functools.lru_cache(maxsize=1_000)(_html)


def _has_time() -> bool:
    return not has_request_context() or g.get("rendering_seconds", 0.0) < MOST_SECONDS


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    """Count the processor time of the block for the request in progress."""
    started = time.thread_time()
    yield
    if has_request_context():
        g.rendering_seconds = g.get("rendering_seconds", 0.0) + time.thread_time() - started


@functools.cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    # Images are left out because their addresses would be loaded; their text stays as a link.
    return MarkdownIt("js-default", {"html": False, "linkify": False, "breaks": True}).disable(["image"])


def ansi(text: str) -> Markup:
    """The output of a terminal, with its colours as classes. Other control sequences are left out."""
    plain = _OTHER_SEQUENCES.sub("", text.replace("\r\n", "\n"))
    first, *rest = _COLOURS.split(str(escape(_CONTROLS_BUT_ESCAPE.sub(_escaped, plain))))
    parts = [first]
    style: dict[str, str] = {}
    for codes, part in zip(rest[::2], rest[1::2], strict=True):
        _apply(style, codes)
        names = " ".join(dict.fromkeys(style.values()))
        parts.append(f'<span class="{names}">{part}</span>' if part and names else part)
    return Markup("".join(parts))  # What is not ours in it was escaped.


def _apply(style: dict[str, str], codes: str) -> None:
    """Change a style as the codes of a sequence say (ECMA-48, 8.3.117). Of 256 colours the first sixteen are known."""
    if codes in ("", "0"):
        # By far the most frequent one.
        style.clear()
        return
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
        if lexer is None or sum(map(len, lines)) > LONGEST_HIGHLIGHTED or not _has_time():
            return [[("", line)] for line in lines]
        with _counted():
            return _tokens(lexer, lines)

    return divide


@functools.lru_cache(maxsize=64)
def _lexer(name: str) -> Any:
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_for_filename(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    return lexer if lexer.name in _LANGUAGES else None


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
