"""The port for issues. See `workers/forges/base.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from workers.forges.discussions import Comments
from workers.forges.quotation import NOTE, check_texts, quoted

_LONGEST_TITLE = 500


@dataclass(frozen=True)
class Issue:
    """An issue, as the forge shows it."""

    number: int
    title: str
    text: str
    author: str
    is_by_bot: bool
    is_open: bool
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_texts(self.title, self.text, self.author, *self.labels)


class Issues(Comments, Protocol):
    """The issues of one repository on one forge, and the comments on them. Errors are those of `Forge`."""

    def get_issue(self, number: int) -> Issue:
        """The issue with that number. Raises EngineError `forge_not_found` if it is none, such as a pull request, or is confidential."""

    def find_who_labelled(self, number: int, label: str) -> str | None:
        """Who added the label last. None: a bot, or it is not known."""

    def acknowledge(self, number: int) -> None:
        """Show on the issue that it was seen. A repeat changes nothing."""


def request_of(issue: Issue, forge: str, asked: str = "") -> str:
    """A prompt that asks for the issue to be resolved, with what the person wrote who asked for it. The texts are quoted."""
    parts = [
        f"Resolve issue {issue.number} on {forge}. It says what is wrong or wanted in this repository. If it asks for nothing "
        "that can be done here, change nothing and say why.",
        NOTE,
        "Its title:",
        quoted(issue.title[:_LONGEST_TITLE]),
    ]
    parts += ["Its text:", quoted(issue.text)] if issue.text.strip() else []
    parts += ["The person who asks for this adds:", quoted(asked)] if asked.strip() else []
    return "\n\n".join(parts)
