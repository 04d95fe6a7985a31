"""Our marks in descriptions and comments. Bitbucket shows the comments of HTML, so there they are link definitions, which
Markdown shows nowhere. Those need an empty line in front of them: https://spec.commonmark.org/0.31.2/#link-reference-definitions
"""

from __future__ import annotations

import re

_ELSEWHERE = re.compile(r"<!-- (agent-runners: [\w -]+) -->")
_LIKE_ONE = re.compile(r"^\[//\]: # \(agent-runners: [\w -]+\)(?=\r?$)", re.MULTILINE)
_HERE = re.compile(r"(?:\r?\n)?^\[//\]: # \((agent-runners: [\w -]+)\)(?:\r?\n|\r?$)", re.MULTILINE)
MARK_CHARACTERS = len("\n[//]: # ()\n") - len("<!--  -->")
"""How much longer a mark gets."""


def with_marks_of_bitbucket(text: str) -> str:
    """The text to send. What looks like a mark of Bitbucket already was not written by us."""
    return _ELSEWHERE.sub("\n[//]: # (\\1)\n", _LIKE_ONE.sub(r"\\\g<0>", text))


def with_usual_marks(text: str) -> str:
    """A text of Bitbucket with the marks that other forges have."""
    return _HERE.sub(r"<!-- \1 -->", text)
