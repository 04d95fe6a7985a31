"""The workspaces on a host: find them, save the work of lost workers, discard them."""

from __future__ import annotations

import contextlib
import fcntl
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.job import Host, Job
from workers.lfs.cache import evict_objects
from workers.limits.cgroups import remove_group
from workers.processes.leftovers import end_git_in
from workers.workspace import trash
from workers.workspace.base import evict_bases
from workers.workspace.diffs import write_diffs
from workers.workspace.kept_checkouts import evict_checkouts
from workers.workspace.kept_mirrors import evict_mirrors
from workers.workspace.kept_setups import evict_setups
from workers.workspace.lfs_saving import store_lfs_objects
from workers.workspace.start import LOCK
from workers.workspace.workspace import Workspace

# A session's id is a UUID.
_NAME = re.compile(r"(?P<session_id>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})-(?P<attempt>[0-9]+)")


def find_workspaces(host: Host) -> dict[tuple[str, int], Path]:
    """The workspace folders on this host, by session id and attempt.

    Other names are ignored, such as the `lost+found` of a disk that is mounted there.
    """
    found = {}
    with contextlib.suppress(FileNotFoundError):
        for folder in (host.work_dir / "workspaces").iterdir():
            if ours := _NAME.fullmatch(folder.name):
                found[ours["session_id"], int(ours["attempt"])] = folder
    return found


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Lock the workspace while the context is open, and yield whether that succeeded.

    It fails while its attempt or another sweep still runs, and if the workspace no longer exists.
    """
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
    """Whether neither its attempt nor a sweep uses the workspace any more."""
    with locked(folder) as is_ours:
        return is_ours


def save_lost_work(job: Job, host: Host) -> None:
    """Write what fits of a lost attempt's work to the job's sink, as `run` does for an interrupted attempt.

    Nothing is written if the agent had not started. A second call writes nothing, so that files that crash whoever
    reads them are read only once. The workspace must be `locked`, and must not be used afterwards. Raises what
    `snapshot` and `write_diffs` do.
    """
    workspace = Workspace.reopen(job, host)
    if workspace is None or job.mode != "normal":
        return
    # The supervisor has killed the agent's processes already, unless it was killed itself.
    remove_group(workspace.root.name)
    end_git_in(workspace.root)
    workspace.begin_saving()
    tree = workspace.snapshot(job.limits)
    write_diffs(workspace, job, tree, contains_secret=store_lfs_objects(job, workspace, tree))


def discard_workspaces(host: Host, folders: Iterable[Path]) -> None:
    """Remove workspaces that are no longer needed, and old bases, checkouts and results of setups; mirrors where the disk is
    nearly full.

    Kills any process left in the control groups of the workspaces, and git that still works in them. Empties the trash.
    """
    for folder in folders:
        remove_group(folder.name)
        end_git_in(folder)
        trash.discard(host, folder)
    evict_bases(host)
    evict_checkouts(host)
    evict_objects(host)
    evict_setups(host)
    evict_mirrors(host)
    trash.empty(host)
