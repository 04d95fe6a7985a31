"""Our marks in descriptions and comments. Bitbucket shows the comments of HTML, so there they are link definitions, which
Markdown shows nowhere."""

from __future__ import annotations

import re

_ELSEWHERE = re.compile(r"<!-- (agent-runners: [\w -]+) -->")
_HERE = re.compile(r"^\[//\]: # \((agent-runners: [\w -]+)\)(?=\r?$)", re.MULTILINE)


def with_marks_of_bitbucket(text: str) -> str:
    """The text to send. What looks like a mark of Bitbucket already was not written by us."""
    return _ELSEWHERE.sub(r"[//]: # (\1)", _HERE.sub(r"\\\g<0>", text))


def with_usual_marks(text: str) -> str:
    """A text of Bitbucket with the marks that other forges have."""
    return _HERE.sub(r"<!-- \1 -->", text)
