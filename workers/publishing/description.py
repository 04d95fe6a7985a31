"""The part of a pull request's description that is generated from its sessions, between two invisible marks.

What people write around it on the forge is kept. If they removed the marks, the whole description is kept.
"""

from __future__ import annotations

_BEGIN, _END = "<!-- agent-runners: sessions -->", "<!-- agent-runners: end of sessions -->"
# What people wrote is kept in full, and the generated part gets the rest of what the forge allows. It is never longer.
_LONGEST = 65_000
_CUT = "\n\n[The rest was left out: the description would be too long.]"


def new_description(sessions: str, characters: int) -> str:
    """The description of a new pull request, of at most so many characters."""
    return _marked(sessions, min(characters, _LONGEST))


def updated_description(body: str, sessions: str, characters: int) -> str | None:
    """`body` with its generated part replaced; None if it has no such part."""
    before, begin, rest = body.replace("\r\n", "\n").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        return None
    return f"{before}{_marked(sessions, min(characters, _LONGEST) - len(before) - len(after))}{after}"


def _marked(sessions: str, longest: int) -> str:
    # A session may quote a description. Marks within it would end the generated part early.
    text = sessions.replace(_BEGIN, "").replace(_END, "")
    room = max(0, longest - len(_BEGIN) - len(_END) - len(_CUT) - 4)
    text = text if len(text) <= room else text[:room] + _CUT
    return f"{_BEGIN}\n{text}\n{_END}"
