"""What the scripted model does: the lines of the prompt that begin with `%`, in their order.

    %write "PATH", "CONTENT"      %edit "PATH", "OLD", "NEW"      %read "PATH"      %run "COMMAND"
    %call "TOOL", {ARGUMENTS}
    %sleep SECONDS                %status CODE                    %hang             %end
    %usage INPUT, OUTPUT          %ask "QUESTION", "CHOICE", ...

The first five and `%ask` are tool calls, one in a reply; `%call` is one of another server's, which only `claude` and `codex` make. What stands in
`<<REGEX>>` is replaced by its group in what the tools answered before, for `claude` too. The next four happen before the reply that they stand in front of: wait,
refuse with an HTTP status, begin to answer and fall silent, begin to answer and break off. `%usage` is what the reply says that it used. The last reply is a text,
and so is the reply to the request for a summary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from workers.stages.wrap_up import REQUEST

FINAL = "Done: the change is in place."
_LINE = re.compile(r"^%(write|edit|read|run|call|ask|sleep|status|hang|end|usage)\b[ \t]*(.*)$", re.MULTILINE)
_TOOLS = ("write", "edit", "read", "run", "call", "ask")


@dataclass(frozen=True)
class Directive:
    """One line of a script."""

    name: str
    arguments: tuple[Any, ...]

    @property
    def questions(self) -> dict[str, object]:
        """The arguments of the tool `ask`."""
        question, *choices = self.texts
        return {"questions": [{"question": question, "choices": choices}]}

    @property
    def texts(self) -> list[str]:
        return [str(each) for each in self.arguments]


@dataclass(frozen=True)
class Reply:
    """What one request is answered with: first what happens before it, then a tool call, or the final text."""

    before: tuple[Directive, ...] = ()
    call: Directive | None = None

    @property
    def usage(self) -> tuple[int, int]:
        """The tokens of input and output that it says it used. 50 of the input are cached."""
        for each in self.before:
            if each.name == "usage":
                return int(each.arguments[0]), int(each.arguments[1])
        return 100, 25


def directive(name: str, *arguments: Any) -> str:
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
        elif REQUEST in text:
            script, answered = "", 0
        elif _LINE.search(text):
            script, answered = text, 0
    replies = _replies(script)
    return replies[min(answered, len(replies) - 1)]


def filled_in(call: Directive, answers: str) -> Directive:
    """The call with what stands in `<<REGEX>>` replaced by what the tools answered."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(each) for name, each in value.items()}
        if isinstance(value, str):
            return re.sub("<<(.*?)>>", lambda found: re.findall(found[1], answers, re.DOTALL)[-1], value)
        return value

    return Directive(call.name, tuple(map(fill, call.arguments)))


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
