"""The workspaces that lie on a host: finding them, saving the work in those whose worker was lost, discarding them."""

from __future__ import annotations

import contextlib
import fcntl
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.job import Host, Job
from workers.limits.cgroups import remove_group
from workers.workspace import trash
from workers.workspace.diffs import write_diffs
from workers.workspace.workspace import LOCK, Workspace

# What the record calls a session is a UUID.
_NAME = re.compile(r"(?P<session_id>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})-(?P<attempt>[0-9]+)")


def find_workspaces(host: Host) -> dict[tuple[str, int], Path]:
    """The folder of every attempt that has one on this host, by session id and attempt.

    What bears another name is none of ours, such as the `lost+found` of a disk that is mounted there.
    """
    found = {}
    with contextlib.suppress(FileNotFoundError):
        for folder in (host.work_dir / "workspaces").iterdir():
            if ours := _NAME.fullmatch(folder.name):
                found[ours["session_id"], int(ours["attempt"])] = folder
    return found


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Whether the workspace is ours while the context is open. It is not where its attempt, or whoever saves the work
    of it, still lives, and where it has gone."""
    try:
        lock = open(folder / LOCK, "ab")  # noqa: SIM115
    except OSError:
        yield False
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def is_orphan(folder: Path) -> bool:
    """Whether nobody is at work in the workspace any more."""
    with locked(folder) as is_ours:
        return is_ours


def save_lost_work(job: Job, host: Host) -> None:
    """Write what fits of the work of a lost attempt to the job's sink, as `run` does for one that is interrupted.

    Nothing is written where the agent had not begun, and nothing at a second call: files that are the end of whoever
    reads them are read once. The workspace is `locked`, and is not to be used afterwards. Raises what `snapshot` and
    `write_diffs` do.
    """
    workspace = Workspace.reopen(job, host)
    if workspace is None or job.mode == "ask":
        return
    # The supervisor has seen to it, unless it was killed as well.
    remove_group(workspace.root.name)
    workspace.begin_saving()
    write_diffs(workspace, job, workspace.snapshot(job.limits))


def discard_workspaces(host: Host, folders: Iterable[Path]) -> None:
    """Remove workspaces that nobody needs any more, with what still runs in their groups, and empty the trash."""
    for folder in folders:
        remove_group(folder.name)
        trash.discard(host, folder)
    trash.empty(host)
