"""Names what a program reports and its adapter does not know, so that nothing is dropped in silence."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from workers.agents.plain_output import plain_text
from workers.events import Step
from workers.job import Secrets
from workers.redaction import shorten

# A program that invents kinds must not fill the session with steps.
_MOST_KINDS = 20
_DEEPEST = 8
# A path is repeated for each value below it, so a line of a megabyte could become a hundred thousand of them.
_MOST_FIELDS = 200
_LONGEST_PATH = 200
_EVENT_BYTES = 4096


class UnknownEvents:
    """Makes a step of the first event of each kind that is not known. Some kinds are known and make no step."""

    def __init__(self, label: str, secrets: Secrets, silent: frozenset[str]) -> None:
        self._label = label
        self._secrets = secrets
        self._silent = silent
        self._seen: set[str] = set()

    def step(self, kind: object, event: Mapping[str, object]) -> Iterator[Step]:
        """The step for an event, with its fields as the message; nothing if its kind is silent or was shown before."""
        name = kind if isinstance(kind, str) and kind else "without a type"
        if name in self._silent or name in self._seen or len(self._seen) > _MOST_KINDS:
            return
        self._seen.add(name)
        if len(self._seen) > _MOST_KINDS:
            yield Step(f"{self._label} reports more unknown events, which are not shown", category="system")
            return
        # Not as JSON, in which a secret may be escaped. Redact before cutting: a part could not be recognised later.
        text = plain_text("\n".join(itertools.islice(_fields(event), _MOST_FIELDS)))
        message = shorten(self._secrets.redact(text), _EVENT_BYTES)
        yield Step(f"{self._label} reports an unknown event: {name}", message, category="system")


def _fields(value: object, path: str = "", depth: int = 0) -> Iterator[str]:
    """A line for each value in an event, with the path to it."""
    if depth < _DEEPEST and isinstance(value, dict):
        for name, each in value.items():
            yield from _fields(each, _bounded(f"{path}.{name}" if path else str(name)), depth + 1)
    elif depth < _DEEPEST and isinstance(value, list):
        for number, each in enumerate(value):
            yield from _fields(each, _bounded(f"{path}[{number}]"), depth + 1)
    else:
        yield f"{path}: {'...' if isinstance(value, dict | list) else value}"


def _bounded(path: str) -> str:
    """The path, or nothing of it if it is too long: a part of a secret in it could not be recognised."""
    return path if len(path) <= _LONGEST_PATH else "..."
