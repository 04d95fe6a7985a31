"""The index of the agent's repository: ignored files that it tracks, files that it no longer tracks, and submodules.

Git reads it inside the sandbox, without a network, with no more rights than the agent had, unless `plain_index` can. Its
output is untrusted: paths are checked, and only used as hints about files in the checkout.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from workers.errors import EngineError, Interrupted
from workers.job import Host, Limits
from workers.limits.budget import Budget
from workers.limits.command import running
from workers.processes.lifeline import Lifeline
from workers.repository.object_format import ID
from workers.sandbox import Directories, open_sandbox

_SECONDS = 20.0
_MOST_BYTES = 64 * 1024**2
_MEMORY = 2 * 1024**3
_SETTINGS = (("core.fsmonitor", "false"), ("core.untrackedCache", "false"), ("core.hooksPath", os.devnull))
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": str(len(_SETTINGS)),
    **{f"GIT_CONFIG_KEY_{number}": key for number, (key, _) in enumerate(_SETTINGS)},
    **{f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(_SETTINGS)},
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
# Prints three lists, each followed by an empty field: how the index differs from the base ($1), which of its files may
# be absent (sparse checkout), and its submodules. It exits with 1 if the index is empty or cannot be compared. For a
# submodule: the commit in the index, its own HEAD, whether a remote has that commit, and ($2) whether it has uncommitted
# changes. The last is not checked without isolation, because it can run programs named in the repository's configuration.
_SCRIPT = r"""
[ -n "$(git ls-files | head -c 1)" ] || exit 1
git diff-index --cached --raw -z --no-renames --no-abbrev --ignore-submodules=none --ita-visible-in-index "$1" -- ||
    exit 1
printf '\0'
git ls-files -t -z | grep -az '^S '
printf '\0'
git ls-files -s -z | grep -az '^160000 ' | ISOLATED=$2 xargs -0 -r -n 1 sh -c '
    path=${1#*"$(printf "\t")"} recorded=${1#* } head= where=local state=clean
    if [ -e "$path/.git" ]; then
        module() { git --git-dir="$path/.git" --work-tree="$path" "$@" 2>/dev/null; }
        head=$(module rev-parse -q --verify "HEAD^{commit}") || head=
        [ -z "$(module for-each-ref --count=1 --contains "$head" refs/remotes)" ] || where=remote
        [ -z "$ISOLATED" ] || [ -z "$(module status --porcelain | head -c 1)" ] || state=changed
    fi
    printf "%s %s %s %s\t%s\0" "${recorded%% *}" "${head:-none}" "$where" "$state" "$path"
' sh
printf '\0'
"""
_CANNOT_COMPARE = 1
_UNREAD = ".git/index: it could not be read. Ignored files and submodules that only it names are not kept."
_ID = ID.encode()
_CHANGE = re.compile(rb":[0-7]{6} ([0-7]{6}) %b %b [A-Z][0-9]*" % (_ID, _ID))
_SUBMODULE = re.compile(rb"(%b) (%b|none) (local|remote) (clean|changed)\t(.+)" % (_ID, _ID), re.DOTALL)
_FILES = (b"100644", b"100755", b"120000")
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class Submodule:
    """A submodule in the agent's index. `commit` is what `git add` would record: its own HEAD if it has one.

    `is_published`: a remote branch has that commit. `is_changed`: the submodule has uncommitted changes.
    """

    commit: str
    is_published: bool = True
    is_changed: bool = False


@dataclass(frozen=True)
class AgentIndex:
    """How the agent's index differs from the base, by path: files that were staged and files that were removed from it.

    `sparse` are files in the index that may be absent from the checkout.
    """

    staged: Sequence[bytes] = ()
    dropped: Sequence[bytes] = ()
    sparse: frozenset[bytes] = frozenset()
    submodules: Mapping[bytes, Submodule] = field(default_factory=dict)


def read_agent_index(
    host: Host, directories: Directories, base_sha: str, locks: Sequence[int] = (), notes: list[str] | None = None
) -> AgentIndex | None:
    """Read the index of the agent's repository. None if it is empty or cannot be compared with the base.

    None as well if the output is invalid, or git takes too long; then a note on what is lost is added to `notes`. No process of the agent may be running. Takes at most 20 seconds. The git process is killed with this process, and
    holds `locks` until it ends.
    """
    limits = Limits(max_duration_seconds=_SECONDS, max_output_bytes=_MOST_BYTES, max_line_bytes=_MOST_BYTES)
    try:
        sandbox = open_sandbox(host, directories, limits, None)
        command = ["sh", "-c", _SCRIPT, "sh", base_sha, "isolated" if sandbox.place.isolated else ""]
        # If the checkout has no repository, git must not use one in a parent folder.
        environment = {**_ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(Path(sandbox.place.checkout).parent)}
        launch = sandbox.launch(command, environment)
        launch = replace(launch, locks=locks, limits={**launch.limits, "RLIMIT_DATA": _MEMORY})
        with running(launch, lifeline=Lifeline(_SECONDS), budget=Budget(limits), stage="diff") as process:
            lines = [line for line in process.lines() if line]
        if process.status == _CANNOT_COMPARE:
            return None
        if process.status == 0 and not any(line.lost for line in lines):
            return _parse(b"\n".join(line.data for line in lines if line.stream == "out"))
    except (EngineError, Interrupted, OSError, ValueError):
        pass
    if notes is not None:
        notes.append(_UNREAD)
    return None


def index_mark(checkout: Path) -> list[int]:
    """A value that changes whenever the index of the agent's repository does."""
    with contextlib.suppress(OSError):
        status = os.lstat(checkout / ".git" / "index")
        return [status.st_ino, status.st_size, status.st_ctime_ns]
    return []


def _parse(output: bytes) -> AgentIndex:
    """Raises ValueError if this is not output of `_SCRIPT`."""
    fields = iter(output.split(b"\0"))
    staged: list[bytes] = []
    dropped: list[bytes] = []
    for change in _list(fields):
        found, path = _CHANGE.fullmatch(change), checked(next(fields, b""))
        if not found:
            raise ValueError("no difference")
        if found[1] in _FILES:
            staged.append(path)
        elif found[1] == b"000000":
            dropped.append(path)
    sparse = frozenset(checked(entry.removeprefix(b"S ")) for entry in _list(fields))
    submodules = dict(_submodule(entry) for entry in _list(fields))
    return AgentIndex(staged, dropped, sparse, submodules)


def _list(fields: Iterator[bytes]) -> Iterator[bytes]:
    """The fields up to the next empty one."""
    for each in fields:
        if not each:
            return
        yield each
    raise ValueError("the list has no end")


def _submodule(entry: bytes) -> tuple[bytes, Submodule]:
    found = _SUBMODULE.fullmatch(entry)
    if not found:
        raise ValueError("no submodule")
    recorded, head, where, state, path = found.groups()
    commit = recorded if head == b"none" else head
    return checked(path), Submodule(commit.decode(), head == b"none" or where == b"remote", state == b"changed")


def checked(path: bytes) -> bytes:
    """Return `path` if it is a path inside the checkout that git may track; raises ValueError if not."""
    parts = path.split(b"/")
    if len(path) > _LONGEST_PATH or any(part.lower() in (b"", b".", b"..", b".git") for part in parts):
        raise ValueError("no path")
    return path
