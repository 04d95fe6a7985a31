"""Text from outside is shown without being obeyed, and sent to a forge as it was meant."""

from __future__ import annotations

from app.escaping import inert, one_line, readable, sendable

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


def test_what_is_not_seen_is_escaped_and_the_rest_is_left() -> None:
    for character in UNSEEN:
        shown = readable(f"a{character}b")
        assert character not in shown and "\\" in shown, hex(ord(character))
    plain = "Größe — «日本語»\u3000 🙂 <b>&amp;</b>\n\tend"
    assert readable(plain) == plain
    assert readable("a\x1b]0;gotcha\x07\r\tb\n") == "a\\x1b]0;gotcha\\x07\\r\tb\n"
    assert readable("\ud800") == "\\ud800"


def test_what_is_sent_keeps_all_but_controls_and_turns_of_direction() -> None:
    plain = "Größe — «日本語»\u3000 👩\u200d👧 \u0646\u0645\u06cc\u200c\u062e \u200f\u05e9\u05dc\u05d5\u200e <b>\n\tend\u00ad\ufeff"
    assert sendable(plain) == plain
    assert sendable("one\r\ntwo\rthree\n") == "one\ntwo\nthree\n"
    assert sendable("\x1b[31m\x00\x85\u202e\u2066\ud800") == "\\x1b[31m\\x00\\x85\\u202e\\u2066\\ud800"
    assert one_line(" a\r\nb\u2028c\td\u202e ") == "a b c d\\u202e"


def test_what_an_agent_wrote_gives_a_forge_no_commands() -> None:
    for active in (
        *("@team", "_@team_", "(@ada)", "Closes #1", "fixed: other/project#12", "resolve GH-3", "see !4"),
        *("Closes https://forge.example.com/a/b/issues/1", "FIXING: https://forge.example.com/a/b/-/issues/1"),
        *("![beacon](https://a.example/x.png)", '<img src="https://a.example">', "<!-- hidden", "</details>"),
        *("[skip ci]", "[ci skip]", "[no ci]", "[Actions Skip]", "/merge", "  /tag v1", "---", "***", "===="),
    ):
        sent = inert(f"first\n{active}\nlast")
        assert f"\n{active}\n" not in sent and sent.replace("\u200b", "") == f"first\n{active}\nlast", active


def test_what_an_agent_wrote_otherwise_stays_as_it_is() -> None:
    plain = "ada@example.org: a < b, List[int], f(x)! `x[0]` - [a link](https://a.example/b#top)\n- [ ] /not/a/command?"
    assert inert(plain) == plain


def test_a_block_of_code_that_an_agent_left_open_is_closed() -> None:
    assert inert("```py\nx = 1") == "```py\nx = 1\n```"
    assert inert("~~~~\n~~~\n```") == "~~~~\n~~~\n```\n~~~~"
    for closed in ("```\nx\n```", "```a```", "```\n```not the end\n````\n"):
        assert inert(closed) == closed
