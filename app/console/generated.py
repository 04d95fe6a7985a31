"""Files of a diff that tools write: lock files, compiled and vendored ones, and those of which the repository says so. They
are folded in a review."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

_GENERATED = re.compile(
    r"""(^|/)(
        package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?|deno\.lock|composer\.lock
        |Gemfile\.lock|Cargo\.lock|Cartfile\.resolved|Package\.resolved|Podfile\.lock|pubspec\.lock|mix\.lock|flake\.lock
        |poetry\.lock|uv\.lock|pdm\.lock|Pipfile\.lock|pylock(\.\w+)?\.toml|go\.sum|go\.work\.sum|gradle\.lockfile
        |packages\.lock\.json|\.terraform\.lock\.hcl
        |[^/]+\.min\.(js|mjs|css)|[^/]+\.(js|mjs|css)\.map
        |[^/]+_pb2(_grpc)?\.pyi?|[^/]+\.pb(\.gw)?\.go|[^/]+\.pb\.(cc|h)|[^/]+_generated\.\w+|[^/]+\.(generated|g)\.\w+
        |(node_modules|bower_components|vendor|third_party|__generated__|__snapshots__)/.+
    )$""",
    re.VERBOSE,
)


def is_generated(path: str, patterns: Sequence[str] = ()) -> bool:
    """Whether a file is generated or vendored: the last of the repository's own patterns that matches says so, or else its
    path. A pattern with a `!` before it is of files that are not generated."""
    said = next((each for each in reversed(patterns) if _matches(each.removeprefix("!"), path)), None)
    return not said.startswith("!") if said else _GENERATED.search(path) is not None


def _matches(pattern: str, path: str) -> bool:
    """Whether a pattern of gitattributes(5) matches a path. The time grows with the product of their lengths at most."""
    if pattern.endswith("/"):
        return False
    if "/" not in pattern:
        return fnmatchcase(path.rpartition("/")[2], pattern)
    wanted, parts = pattern.removeprefix("/").split("/"), path.split("/")
    if wanted[-1] == "**":
        wanted.append("*")
    at = place = 0
    # Where the last `**` stands, and how many parts it has taken with all before it.
    star, taken = -1, 0
    while at < len(parts):
        if place < len(wanted) and wanted[place] == "**":
            star, taken, place = place, at, place + 1
        elif place < len(wanted) and fnmatchcase(parts[at], wanted[place]):
            at, place = at + 1, place + 1
        elif star >= 0:
            taken, place = taken + 1, star + 1
            at = taken
        else:
            return False
    return all(each == "**" for each in wanted[place:])
