"""Steps for the tool calls of agents: one form for all of them, so that people and programs can group them."""

from __future__ import annotations

import typing
from typing import Any

from workers.agents.plain_output import plain_text
from workers.agents.values import objects, text_of
from workers.events import Category, Step
from workers.job import Secrets
from workers.redaction import shorten

# Names of tools in lower case, without `_` and `-`.
_TOOLS: dict[Category, tuple[str, ...]] = {
    "command": (
        *("bash", "runshellcommand", "shell", "execcommand", "writestdin", "readbash", "writebash", "stopbash"),
        *("bashoutput", "killshell", "execute"),
    ),
    "read": ("read", "readfile", "readmanyfiles", "view", "notebookread", "listdirectory", "list", "ls"),
    "edit": (
        "edit",
        "multiedit",
        "write",
        "writefile",
        "replace",
        "notebookedit",
        "applypatch",
        "create",
        "strreplace",
    ),
    "search": ("grep", "glob", "search", "searchfilecontent", "grepsearch", "rg", "codesearch", "toolsearch"),
    "plan": ("exitplanmode", "enterplanmode", "updateplan", "think"),
    "todo": ("todowrite", "todoread", "writetodos", "updatetodo", "taskcreate", "taskupdate", "tasklist"),
    # The last ones are our own `ask`, with the name of its server as each program writes it.
    "question": ("askuserquestion", "askuser", "question", "questionsask", "mcpquestionsask"),
    "web": ("webfetch", "websearch", "googlewebsearch", "fetch"),
}
_CATEGORIES = {tool: category for category, tools in _TOOLS.items() for tool in tools}
# Arguments that describe what a call does, the most useful first.
_DESCRIBING = (
    *("command", "file_path", "filePath", "absolute_path", "notebook_path", "pattern", "query", "url", "question"),
    *("description", "path", "dir_path", "plan"),
)
_LISTS = ("todos", "items", "entries", "plan")
_DONE = ("completed", "done")
_REMEMBERED = 1000
_RESULT_BYTES = 4096


class Calls:
    """The tool calls of one run that have no result yet. Forgets the oldest, because some never get one."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._open: dict[str, Step] = {}
        self.count = 0
        """How many calls were made."""

    def begin(self, ref: object, tool: str, arguments: object) -> Step:
        """The step for a call."""
        return self.note(call_step(tool, arguments, str(ref) if ref else None))

    def note(self, step: Step) -> Step:
        """The step for a call, which the agent itself has described."""
        self.count += 1
        if step.ref:
            self._open[step.ref] = step
            if len(self._open) > _REMEMBERED:
                del self._open[next(iter(self._open))]
        return step

    def knows(self, ref: object) -> bool:
        """Whether a call has no result yet."""
        return str(ref) in self._open

    def end(self, ref: object, answer: str, *, failed: bool, title: str | None = None) -> Step:
        """The step for the result of a call. `title` is a better description, if the agent knows one by now."""
        call = self._open.pop(str(ref), Step("a tool", category="tool", ref=str(ref) if ref else None))
        # Redact before cutting: a part of a secret could not be recognised later.
        text = shorten(self._secrets.redact(plain_text(answer)), _RESULT_BYTES)
        about = title or call.title
        return Step(f"Failed: {about}" if failed else f"Result of {about}", text, category=call.category, ref=call.ref)


def category_of(tool: str) -> Category:
    """The category of a tool, by its name."""
    return _CATEGORIES.get(tool.lower().replace("_", "").replace("-", ""), "tool")


def category_named(name: object) -> Category:
    """The category of that name, or else `message`."""
    known: tuple[Category, ...] = typing.get_args(Category)
    return next((each for each in known if each == name), "message")


def call_step(tool: str, given: object, ref: str | None) -> Step:
    """The step for a call of `tool`: with what it is about, or with the list that it writes."""
    category = category_of(tool)
    arguments: dict[str, Any] = given if isinstance(given, dict) else {}
    if category in ("todo", "plan"):
        entries = next((listed for name in _LISTS if (listed := objects(arguments.get(name)))), [])
        if entries:
            return todo_step(entries, ref, category)
    questions = objects(arguments.get("questions"))
    about = next((arguments[name] for name in _DESCRIBING if isinstance(arguments.get(name), str)), "")
    about = about or "\n".join(text_of(each.get("question")) for each in questions)
    first, _, more = about.strip().partition("\n")
    return Step(f"{tool}: {first}" if first else tool, about if more else "", category=category, ref=ref)


def todo_step(entries: list[dict[str, Any]], ref: str | None, category: Category = "todo") -> Step:
    """The step for a list of tasks, of which each has a text and may be done."""
    done = [each.get("completed") is True or each.get("status") in _DONE for each in entries]
    texts = [
        next((str(each[name]) for name in ("content", "text", "step", "description", "title") if each.get(name)), "")
        for each in entries
    ]
    lines = [f"[{'x' if is_done else ' '}] {text}" for is_done, text in zip(done, texts, strict=True)]
    what = "Plan" if category == "plan" else "Tasks"
    return Step(f"{what}: {sum(done)} of {len(done)} done", "\n".join(lines), category=category, ref=ref)
