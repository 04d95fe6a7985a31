"""The port for what people write about pull requests, and for what is answered. See `workers/forges/base.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from workers.errors import EngineError
from workers.forges.quotation import NOTE, check_texts, plain, quoted

_MARK = "<!-- agent-runners: {} -->"
_OWN = re.compile(r"<!-- agent-runners: [\w-]+ -->")
_CODE_LINES, _LONGEST_THREAD = 30, 5
_LONGEST = 200_000
"""The most characters of all remarks, which is less than a prompt may have."""


@dataclass(frozen=True)
class Remark:
    """One text, and the place in the diff that it is about, if it is about one."""

    author: str
    text: str
    path: str | None = None
    first_line: int | None = None
    last_line: int | None = None
    code: str = ""
    """The end of the diff that the remark is about."""
    thread: tuple[Remark, ...] = ()
    """What was written at this place before, the oldest first."""

    def __post_init__(self) -> None:
        check_texts(self.author, self.text, self.path or "", self.code)
        if not all(line is None or type(line) is int for line in (self.first_line, self.last_line)):
            raise TypeError("not the number of a line")


@dataclass(frozen=True)
class Discussion:
    """What one person submitted at once: a comment, or a review with all its remarks."""

    number: int
    author: str
    is_bot: bool
    remarks: tuple[Remark, ...]
    author_name: str = ""
    """What the author is called, where `author` is an id."""

    @property
    def text(self) -> str:
        """All that the person wrote, without what the thread said before."""
        return "\n".join(remark.text for remark in self.remarks)

    @property
    def is_own(self) -> bool:
        """Whether Agent Runners wrote it."""
        return bool(_OWN.search(self.text))


class Comments(Protocol):
    """The comments on the pull requests, or on the issues, of one repository on one forge. Errors are those of `Forge`."""

    def get_comment(self, number: int, comment_id: int) -> Discussion:
        """A comment on the pull request or issue as a whole."""

    def may_write(self, login: str) -> bool | None:
        """Whether the person may push to the repository. None: the forge does not say."""

    def write_comment(self, number: int, key: str, text: str) -> None:
        """Write a comment on the pull request or issue. One that was written with this key is edited, so there is one of
        each."""


class Discussions(Comments, Protocol):
    """What is written about the pull requests of one repository on one forge. Errors are those of `Forge`."""

    def get_review(self, number: int, review_id: int) -> Discussion:
        """A submitted review, with all its remarks."""


class WithoutReviews:
    """A base for the discussions of forges that have no reviews with a text, or deliver none."""

    def get_review(self, number: int, review_id: int) -> Discussion:
        """See `Discussions`. Raises EngineError `forge_not_found`."""
        message = f"Review {review_id} of pull request {number} is not followed on this forge."
        raise EngineError("forge_not_found", "publish", message)


def marked(text: str, key: str) -> str:
    """`text` with a mark that is not shown, by which `is_own` and `has_key` recognize it."""
    return f"{text}\n\n{_MARK.format(key)}"


def has_key(text: str, key: str) -> bool:
    """Whether the text was marked with this key."""
    return _MARK.format(key) in text


def request_of(discussion: Discussion, forge: str) -> str:
    """A prompt that asks for what was written. The texts are quoted line by line, so that none can pass for ours."""
    parts = [
        f"{plain(discussion.author_name or discussion.author)} reviewed pull request {discussion.number} on {forge}, which holds the work so far. Do "
        "what is asked for there, and nothing else.",
        NOTE,
    ]
    described = [_described(remark) for remark in discussion.remarks]
    fitting = [
        text for text, total in zip(described, accumulate(map(len, described)), strict=True) if total <= _LONGEST
    ]
    left_out = len(described) - len(fitting)
    more = [f"{left_out} more remarks are left out, because there are too many. Say so in the end."] if left_out else []
    return "\n\n".join([*parts, *fitting, *more])


def _described(remark: Remark) -> str:
    lines = []
    if remark.path:
        lines.append(f"At {plain(remark.path)}{_line_range(remark)}:")
    if remark.code:
        lines.append(quoted("\n".join(remark.code.splitlines()[-_CODE_LINES:])))
    for before in remark.thread[-_LONGEST_THREAD:]:
        lines += [f"{plain(before.author)} wrote there before:", quoted(before.text)]
    return "\n\n".join([*lines, f"{plain(remark.author)} wrote:", quoted(remark.text)])


def _line_range(remark: Remark) -> str:
    if remark.last_line is None:
        return ""
    if remark.first_line in (None, remark.last_line):
        return f", line {remark.last_line}"
    return f", lines {remark.first_line} to {remark.last_line}"
