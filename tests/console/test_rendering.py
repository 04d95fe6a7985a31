"""Text of agents, repositories and people is shown, and never does anything."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from app.console import rendering
from app.console.diff_rows import Row, rows_of
from app.console.review import Comment, prompt_of
from tests.matrix import examples

TAGS = {*rendering._TAGS, "span", "mark"}
ATTRIBUTES = {"class", "href", "rel", "start"}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</pre></td></table><form action=/sign-out method=post>",
    '<a hx-get="/sign-out" hx-trigger="load">x</a>',
    "[x](javascript:alert(1)) [y](data:text/html,<script>1</script>) [z](//evil.example)",
    "![x](https://evil.example/pixel.png)",
    "<style>*{display:none}</style><!-- -->",
    "[a]: javascript:alert(1)\n\n[a]",
    "`</code><script>`\n\n```html\n</code></pre><script>1</script>\n```",
    '<https://evil.example/"onmouseover=alert(1)>',
    "\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07 \x1b[31m<b>red\x1b[38;2;1;2;3m \x1b[999999999999m \x1b[",
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; &#x3c;b&#x3e;",
    "admin\u202egnp.exe \u200b\u2066 zero\u0000 \x07 \x08",
    "|a|b|\n|-|-|\n|<b>|`|`|",
]


class Shown(HTMLParser):
    """Collects what a browser would make of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def check_harmless(html: str) -> Shown:
    shown = Shown(html)
    assert shown.tags <= TAGS
    assert {name for name, _ in shown.attributes} <= ATTRIBUTES
    for name, value in shown.attributes:
        if name == "href":
            assert re.match(r"(https?:|mailto:)", value or "") or not re.match(r"[\w+.-]*:", value or ""), value
    assert not rendering._CONTROLS.search(html)
    return shown


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_shown(text):
    check_harmless(rendering.markdown(text))
    check_harmless(rendering.ansi(text))
    lines = [f"+{line}" for line in text.split("\n")]
    patch = "\n".join(["diff --git a/x b/x", f"@@ -0,0 +1,{len(lines)} @@ {text.splitlines()[0]}", *lines])
    for name in ("x.html", "x.py", "x.md", "x"):
        for row in rows_of([patch.encode()], name).rows:
            check_harmless(row.content)


# All that UTF-8 has: for `st.text()`, Hypothesis first encodes every character there is, for two seconds.
ANY = st.characters(exclude_categories=["Cs"])
texts = st.text(st.sampled_from("<>&\"'`[]()!|*_#-:/ \n\t\x1b\x00;mhxjavscript=01\u202e\u200bé")) | st.text(ANY)


@settings(max_examples=examples(60))
@given(texts)
def test_no_text_becomes_more_than_text(text):
    check_harmless(rendering.markdown(text))
    shown = check_harmless(rendering.ansi(text))
    if "\x1b" not in text and "\r" not in text:
        assert shown.text == rendering.visible(text)


@settings(max_examples=examples(60))
@given(
    st.lists(
        st.sampled_from(["+", "-", " ", "\\", "@@ -1 +1 @@", "@@ -1,9 +1,9 @@ f", ""]).flatmap(
            lambda sign: texts.map(sign.__add__)
        )
    )
)
def test_no_patch_breaks_its_page(lines):
    for name in ("x.py", "x.unknown"):
        for row in rows_of(["\n".join(lines).encode("utf-8", "surrogatepass")], name).rows:
            check_harmless(row.content)


def test_markdown_is_shown_as_it_is_meant():
    html = rendering.markdown("# Done\n\n1. `a`\n2. **b**\n\n| x |\n|---|\n| y |\n\n[site](https://example.org)")
    assert {"h1", "ol", "code", "strong", "table", "a"} <= Shown(html).tags
    assert 'href="https://example.org" rel="noopener noreferrer nofollow"' in html


def test_colours_of_a_terminal_are_classes():
    html = rendering.ansi("\x1b[1;31mE\x1b[22m x\x1b[0m ok\x1b]0;title\x07 \x1b[2K\x1b[38;5;10mg\x1b[39m")
    assert html == (
        '<span class="ansi-bold ansi-fg-1">E</span><span class="ansi-fg-1"> x</span> ok <span class="ansi-fg-10">g</span>'
    )


def test_a_patch_has_line_numbers_and_marks_of_what_changed():
    patch = b"--- a/x.py\n+++ b/x.py\n@@ -9,3 +9,3 @@ def f\n a\n-b = 1\n+b = 2\n c\n\\ No newline at end of file\n"
    rows = rows_of([patch], "x.py").rows
    assert [(row.kind, row.old, row.new) for row in rows] == [
        ("hunk", None, None),
        ("same", 9, 9),
        ("delete", 10, None),
        ("add", None, 10),
        ("same", 11, 11),
        ("note", None, None),
    ]
    assert "<mark>1</mark>" in rows[2].content and "<mark>2</mark>" in rows[3].content


def test_a_long_patch_is_cut_and_says_so():
    found = rows_of([b"@@ -0,0 +1,9999 @@\n", *([b"+line\n"] * 9999)], "x.txt")
    assert found.is_cut and len(found.rows) == 4000


@settings(max_examples=examples(60))
@given(st.text(st.sampled_from("`~# \n\t\r\x00\x1b\u202ea.py")), st.lists(st.text(st.sampled_from("`~ \t\x1b#a"))))
def test_names_and_code_stay_where_they_are_quoted(path, lines):
    rows = [Row("add", "", None, number, f"+{line}") for number, line in enumerate(lines, 1)]
    text = prompt_of(
        "", [Comment(path, "R1", f"R{len(rows)}", "Mine.", rows)] if rows else [Comment(path, "", "", "Mine.")]
    )
    blocks = text.removesuffix("\n").split("\n\n")
    heading = next(line for line in text.split("\n") if line.startswith("## "))
    fence = re.match("`+", heading.removeprefix("## "))[0]
    assert len(re.findall(f"(?<!`){fence}(?!`)", heading)) == 2
    assert blocks[-1] == "Mine." and "\x00" not in text and "\u202e" not in text
    if rows:
        opened = next(line for line in text.split("\n") if line.endswith("`diff"))
        closing = opened.removesuffix("diff")
        assert text.split("\n").count(closing) == 1


def test_lines_are_named_by_their_numbers():
    rows = rows_of([b"@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n"], "app.py").rows
    assert [row.name for row in rows] == [None, "R1", "L2", "R2", "R3"]
    assert [row.text for row in rows][1:4] == [" one", "-two", "+TWO"]


@pytest.mark.parametrize("piece", ["[", "![", "[a][", "_a*", "|", "[a]("])
def test_no_markdown_takes_long(piece):
    length = rendering.LONGEST_MARKDOWN // 3
    started = time.thread_time()
    rendering.markdown((piece * length)[:length])
    # It takes a thirtieth of a second, or some of that on a slow machine; what grows faster than the square would take minutes.
    assert time.thread_time() - started < 30


def test_a_page_of_texts_that_take_long_shows_the_rest_as_it_is(monkeypatch):
    monkeypatch.setattr(rendering, "MOST_SECONDS", 0.05)
    text = "**bold** " + "[" * (rendering.LONGEST_MARKDOWN // 3)
    with Flask(__name__).test_request_context():
        shown = [rendering.markdown(text) for _ in range(20)]
        assert rendering.highlighter("x.py")(["if 1:"]) == [[("", "if 1:")]]
    assert "<strong>" in shown[0] and shown[-1].startswith('<pre class="plain">**bold**')


@pytest.mark.parametrize("hidden", ["\u200e", "\u061c", "\u00ad", "\u3164", "\U000e0041", "\U000e0102", "\u2063"])
def test_no_character_hides(hidden):
    assert hidden not in rendering.visible(f"a{hidden}b")
    assert rendering.visible("नमस्ते \u200d \u200c \ufe0f é") == "नमस्ते \u200d \u200c \ufe0f é"


@pytest.mark.parametrize("name", ["x.ly", "x.fan", "x.au3"])
def test_languages_whose_lexers_take_long_have_no_colours(name):
    line = "aA_" * 600
    assert rendering.highlighter(name)([line]) == [[("", line)]]
    assert rendering.highlighter("x.py")(["if"]) == [[("k", "if")]]
