"""What the scripted model does: the lines of the prompt that begin with `%`, in their order.

    %write "PATH", "CONTENT"      %edit "PATH", "OLD", "NEW"      %read "PATH"      %run "COMMAND"
    %sleep SECONDS                %status CODE                    %hang             %end

The first four are tool calls, one in a reply. The others happen before the reply that they stand in front of: wait,
refuse with an HTTP status, begin to answer and fall silent, begin to answer and break off. The last reply is a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

FINAL = "Done: the change is in place."
_LINE = re.compile(r"^%(write|edit|read|run|sleep|status|hang|end)\b[ \t]*(.*)$", re.MULTILINE)
_TOOLS = ("write", "edit", "read", "run")


@dataclass(frozen=True)
class Directive:
    """One line of a script."""

    name: str
    arguments: tuple[str | float, ...]

    @property
    def texts(self) -> list[str]:
        return [str(each) for each in self.arguments]


@dataclass(frozen=True)
class Reply:
    """What one request is answered with: first what happens before it, then a tool call, or the final text."""

    before: tuple[Directive, ...] = ()
    call: Directive | None = None


def directive(name: str, *arguments: str | float) -> str:
    """A line for a prompt: `directive("write", "a.txt", "hello")`."""
    return f"%{name} {json.dumps(arguments)[1:-1]}"


def next_reply(turns: Iterable[str | None]) -> Reply:
    """The reply to a conversation, given as the texts of the user; None stands for the result of a tool.

    Nothing is remembered between requests, so a request that is sent again is answered in the same way.
    """
    script, answered = "", 0
    for text in turns:
        if text is None:
            answered += 1
        elif _LINE.search(text):
            script, answered = text, 0
    replies = _replies(script)
    return replies[min(answered, len(replies) - 1)]


def _replies(script: str) -> list[Reply]:
    replies: list[Reply] = []
    before: list[Directive] = []
    for name, arguments in _LINE.findall(script):
        found = Directive(name, tuple(json.loads(f"[{arguments}]")))
        if name in _TOOLS:
            replies.append(Reply(tuple(before), found))
            before = []
        else:
            before.append(found)
    return [*replies, Reply(tuple(before))]
