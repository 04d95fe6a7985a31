"""Whether a mirror is damaged, so that it is made again."""

from __future__ import annotations

import tempfile

from workers.errors import EngineError
from workers.repository.contents import has_lost_contents
from workers.repository.git import Git, GitFailed, OverLimit
from workers.repository.partial import is_partial

# What git says when the remote or the network failed, rather than the mirror.
_OF_REMOTE = (
    *("unable to access", "ould not read from remote", "hung up", "RPC failed", "does not appear to be", "early EOF"),
    *("expected flush", "protocol error", "unable to connect", "not found", "disconnect", "remote error"),
)


def may_be_damage(error: EngineError) -> bool:
    """Whether a fetch may have failed because the mirror is damaged. What a remote or the network did has other words."""
    if error.code == "repository_unreachable":
        return not any(words in error.message for words in _OF_REMOTE)
    return error.code == "git_failed"


def can_read(mirror: Git, sha: str) -> bool:
    """Whether all objects of a commit's tree can be read, those aside that a partial mirror has never had."""
    lacks = ["--missing=allow-any"] if is_partial(mirror.directory) else []
    try:
        with tempfile.TemporaryFile() as wanted:
            wanted.write(f"--shallow {sha}\n{sha}\n".encode())
            wanted.seek(0)
            arguments = ("pack-objects", "--quiet", "--revs", "--shallow", *lacks, "--stdout")
            for _ in mirror.stream(*arguments, stdin=wanted):
                pass
    except (GitFailed, OSError):
        return False
    except OverLimit:
        pass
    return not has_lost_contents(mirror, sha)
