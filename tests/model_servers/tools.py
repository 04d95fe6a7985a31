"""Which tool does what a directive says, among those that a request offers, and with which arguments."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from tests.model_servers.script import Directive

CHECKOUT = "/workspace"
# The names that programs give to their tools, and to the arguments of a directive.
_TOOLS = {
    "write": ("write_file", "write", "create"),
    "edit": ("replace", "edit"),
    "read": ("read_file", "read", "view"),
    "run": ("run_shell_command", "bash"),
    "ask": ("mcp__questions__ask", "mcp_questions_ask", "questions_ask", "questions-ask", "ask"),
}
_ARGUMENTS = {
    "write": (("file_path", "filePath", "path"), ("content", "file_text")),
    "edit": (
        ("file_path", "filePath", "path"),
        ("old_string", "oldString", "old_str"),
        ("new_string", "newString", "new_str"),
    ),
    "read": (("file_path", "filePath", "path"),),
    "run": (("command",),),
}
# What tools want besides, which no test is about.
_BESIDES: dict[str, object] = {"description": "as the script says", "instruction": "edit it", "is_background": False}
_EDIT = "import sys; n, a, b = sys.argv[1:]; t = open(n).read(); open(n, 'w').write(t.replace(a, b))"


def tool_call(offered: Mapping[str, Mapping[str, Any]], call: Directive) -> tuple[str, dict[str, object]]:
    """The tool and its arguments. `offered` has the JSON schema of each tool; if only a shell is, it does everything."""
    name = next((each for each in _TOOLS[call.name] if each in offered), None)
    if name is None:
        assert call.name != "run", f"no tool runs a command among {sorted(offered)}"
        return tool_call(offered, Directive("run", (_command(call),)))
    if call.name == "ask":
        return name, call.questions
    wanted = offered[name].get("properties", {})
    names = [next(each for each in known if each in wanted) for known in _ARGUMENTS[call.name]]
    arguments = dict(zip(names, call.arguments, strict=True))
    if "absolute" in str(wanted.get(names[0])).lower():
        arguments[names[0]] = f"{CHECKOUT}/{call.texts[0]}"
    besides = {each: value for each, value in _BESIDES.items() if each in offered[name].get("required", ())}
    return name, {**besides, **arguments}


def _command(call: Directive) -> str:
    match call.name, call.texts:
        case "write", [path, content]:
            return (
                f'mkdir -p "$(dirname {shlex.quote(path)})" && printf %s {shlex.quote(content)} > {shlex.quote(path)}'
            )
        case "edit", [path, old, new]:
            return shlex.join(["python3", "-c", _EDIT, path, old, new])
        case _:
            return shlex.join(["cat", *call.texts])
