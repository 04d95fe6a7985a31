"""Changes that a reviewer should not miss: of files that run in CI or on other people's machines, that decide who reviews,
or that fetch other code."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The names are fixed texts, because a path may contain anything, such as a mention.
_KINDS = {
    "CI workflows": re.compile(
        r"\.(github|gitea|forgejo)/(workflows|actions)(/|$)|\.gitlab-ci\.yml$|\.gitlab/ci(/|$)|bitbucket-pipelines\.yml$"
    ),
    "Git hooks": re.compile(r"\.(husky|githooks)(/|$)|\.pre-commit-config\.ya?ml$|\.?lefthook\.ya?ml$"),
    "CODEOWNERS": re.compile(r"(\.(github|gitlab|gitea|forgejo|bitbucket)/|docs/)?CODEOWNERS$"),
    ".gitmodules": re.compile(r"\.gitmodules$"),
}


def kind_of(path: str) -> str | None:
    """The kind of a sensitive file; None for any other."""
    # A name that is not UTF-8 is listed in quotation marks.
    return next((kind for kind, pattern in _KINDS.items() if pattern.match(path.removeprefix('"'))), None)


def kinds_of(paths: Iterable[str]) -> list[str]:
    """The kinds of sensitive files that are among the paths."""
    found = {kind_of(path) for path in paths}
    return [kind for kind in _KINDS if kind in found]
