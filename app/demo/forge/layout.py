"""How the pages look. Whatever comes from outside is escaped here or before it comes here."""

from __future__ import annotations

import html
import unicodedata

from app.demo.forge.store import Pull

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; --plus: #1a7f37; --minus: #cf222e; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
a { color: #3b6fd4; text-decoration: none; } a:hover { text-decoration: underline; }
code, pre { font: 13px/1.5 ui-monospace, monospace; } code { background: #8882; padding: .1em .35em; border-radius: 4px; }
.quiet { color: var(--quiet); } .plus { color: var(--plus); } .minus { color: var(--minus); }
.list { list-style: none; padding: 0; border: 1px solid var(--line); border-radius: 8px; }
.list li { padding: .6rem 1rem; overflow-wrap: anywhere; } .list li + li { border-top: 1px solid var(--line); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); border-radius: 8px; padding: 1rem; }
.badge { color: #fff; border-radius: 1em; padding: .1em .7em; font-size: .85em; }
.open { background: #1a7f37; } .draft { background: #6e7781; } .merged { background: #8250df; } .closed { background: #cf222e; }
.buttons { display: flex; gap: .5rem; margin: 1rem 0; }
button { font: inherit; padding: .35rem 1rem; border: 1px solid var(--line); border-radius: 6px; cursor: pointer; }
button.merge { background: #1a7f37; color: #fff; }
.diff { border: 1px solid var(--line); border-radius: 8px; padding: .5rem 0; overflow-x: auto; }
.diff span { display: block; padding: 0 1rem; min-height: 1.5em; width: max-content; min-width: calc(100% - 2rem); }
.diff .file { font-weight: 600; background: #8882; } .diff .hunk { color: #3b6fd4; }
.diff .added { background: #2da44e26; } .diff .removed { background: #cf222e22; }
"""


def escape(text: str) -> str:
    """HTML that shows `text`, with an escape in the place of what would not be seen or would turn what stands next to it
    around: all of Unicode's other characters (`C...`) and separators of lines, but for newlines and tabs."""
    seen = (c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else _escaped(c) for c in text)
    return html.escape("".join(seen))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def page(title: str, body: str) -> str:
    """A whole page. `title` is text, `body` is HTML."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style></head>
<body><p><a href="/">Demo forge</a></p><h1>{escape(title)}</h1>{body}</body></html>"""


def badge(pull: Pull) -> str:
    state = "merged" if pull.merged_at else "draft" if pull.is_open and pull.draft else pull.state
    return f'<span class="badge {state}">{state}</span>'


def diff(text: str, limit: int) -> str:
    """A diff as HTML; one that reached `limit` bytes has been cut, and says so."""
    if not text:
        return '<p class="quiet">There are no changes.</p>'
    in_hunk, lines = False, []
    for line in text.split("\n"):
        if line.startswith("diff --git "):
            in_hunk = False
        in_hunk = in_hunk or line.startswith("@@")
        lines.append(f'<span class="{_kind(line, in_hunk)}">{escape(line)}</span>')
    cut = '<p class="quiet">The rest of the diff is left out here.</p>' if len(text.encode()) >= limit else ""
    return f'<pre class="diff">{"".join(lines)}</pre>{cut}'


def _kind(line: str, in_hunk: bool) -> str:
    if not in_hunk:
        return "file" if line.startswith("diff --git ") else "quiet"
    return {"+": "added", "-": "removed", "@": "hunk"}.get(line[:1], "")
