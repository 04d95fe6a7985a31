"""Find the paths of a tree that git forbids. Servers that check what is pushed to them reject such a tree.

`git fsck --strict` does the check, as on servers with `transfer.fsckObjects`, so its rules are not repeated here.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from workers.repository.git import Git, GitFailed
from workers.repository.trees import Change, fields_of

# Without `--full` only loose objects are read, and the `.gitmodules` that they name. Packs from the remote were
# already checked when they were fetched.
_CHECK = ("fsck", "--strict", "--no-full", "--no-dangling", "--no-reflogs", "--no-progress")
_FINDING = re.compile(r"^error in (?:tree|blob) ([0-9a-f]+): (\w+): ", re.MULTILINE)
_SUSPECT = re.compile(rb"git|[~:\\]|[^ -}]|(?:^|/)[^/]{4097}", re.IGNORECASE)
# Paths listed at most. `Git` keeps only the end of long error output, so some findings may be missing.
_MAX_PATHS = 100


@dataclass(frozen=True)
class _Entry:
    mode: bytes
    kind: bytes
    id: str
    path: bytes


def may_be_forbidden(changed: Iterable[Change]) -> bool:
    """Whether `find_forbidden` could find anything in these changes. It costs a process; this costs nothing.

    All rules are about links, names that look like git's own on some system (in other letters, with letters of other
    scripts, or by the short names of Windows, `git~1`), and parts of a path over 4096 bytes, which newer git refuses.
    """
    return any(each.exists and (each.new_mode == b"120000" or _SUSPECT.search(each.path)) for each in changed)


def find_forbidden(git: Git, tree: str) -> list[str]:
    """The paths in `tree` that git forbids, each with the name of the rule, such as `.gitmodules (gitmodulesUpdate)`.

    Checks what is new in the directory of `git`: its loose objects, as written by `write-tree` and `apply`. The list is
    empty if everything may be pushed. Raises what `Git.run` raises.
    """
    rules = _broken_rules(git)
    found: dict[bytes, str] = {}
    for entry in _entries(git, tree, "-r", "-t") if rules else ():
        if entry.kind == b"blob" and entry.id in rules:
            found.setdefault(entry.path, rules[entry.id])
        elif entry.kind == b"tree" and entry.id in rules:
            found |= _forbidden_entries(git, entry.id, entry.path + b"/")
    if tree in rules:
        found |= _forbidden_entries(git, tree, b"")
    return [f"{path.decode(errors='replace')} ({rule})" for path, rule in sorted(found.items())[:_MAX_PATHS]]


def _broken_rules(git: Git) -> dict[str, str]:
    """The rule that each bad object breaks, by object id."""
    try:
        git.run(*_CHECK)
    except GitFailed as failed:
        return dict(_FINDING.findall(failed.errors))
    return {}


def _forbidden_entries(git: Git, tree: str, folder: bytes) -> dict[bytes, str]:
    """Which entries of a tree break a rule. Git reports only the tree, so each entry is checked in its own tree."""
    entries = list(_entries(git, tree))
    with tempfile.TemporaryFile(dir=git.directory) as lines:
        for entry in entries:
            lines.write(b"%s %s %s\t%s\0\0" % (entry.mode, entry.kind, entry.id.encode(), entry.path))
        lines.seek(0)
        alone = git.run("mktree", "--batch", "--missing", "-z", stdin=lines).decode().split()
    rules = _broken_rules(git)
    return {folder + entry.path: rules[name] for entry, name in zip(entries, alone, strict=True) if name in rules}


def _entries(git: Git, tree: str, *options: str) -> Iterator[_Entry]:
    with closing(git.stream("ls-tree", *options, "-z", tree)) as output:
        for field in fields_of(output):
            words, _, path = field.partition(b"\t")
            mode, kind, name = words.split(b" ")
            yield _Entry(mode, kind, name.decode(), path)
