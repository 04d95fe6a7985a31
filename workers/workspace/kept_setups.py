"""What the setup commands of a site left, kept on the host so that later sessions need not run them again.

    setups/<site_id>/<key>/
        left.tar    the files that git ignores, the agent's home, and the configuration and hooks of its repository
        paths.json  their paths in the checkout

The key is a digest of everything that a setup command sees, or, if the site names files, of these. An archive is made
before the agent starts, is never changed, and is copied into the workspaces of later sessions. So no agent can change what
another session gets. If setup changed files that git does not ignore, nothing is kept: what is the agent's work is decided
by comparing trees, and stays as it is without this.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from workers.errors import EngineError
from workers.job import Host, Job
from workers.limits.budget import Budget
from workers.processes.launch import Launch, supervised
from workers.processes.output import read_output
from workers.repository.objects import SUBMODULE
from workers.repository.plain_name import plain_name
from workers.repository.remote import public_url
from workers.repository.trees import TreePaths
from workers.safe_walk import walk
from workers.workspace import trash
from workers.workspace.overlay import folder_in
from workers.workspace.untrackable import is_whiteout
from workers.workspace.workspace import Workspace

_KEPT_SECONDS = 86_400.0
_ARCHIVE, _PATHS = "left.tar", "paths.json"
_REPOSITORY = ".git"
# What is kept of the agent's repository. Its index is not, and shows the same files anyway.
_CONFIGURATION = ("config", "hooks", "info")
_NOT_COMPARED = (*_CONFIGURATION, "index")
# They change when programs or libraries are installed that the sandbox shows.
_SYSTEM = ("/etc/os-release", "/usr/bin", "/usr/lib", "/usr/local/bin", "/usr/local/lib")
_CREATE = ("--create", "--format=posix", "--sparse", "--numeric-owner", "--null", "--files-from=-")
_EXTRACT = ("--extract", "--preserve-permissions", "--numeric-owner", "--file=-")


class _NotKept(Exception):
    """Why the result of a setup command is not kept."""


class KeptSetup:
    """The kept result of a job's setup command, which may exist. Make it before any process runs in the workspace."""

    def __init__(self, job: Job, host: Host, workspace: Workspace, budget: Budget, *, has_agent_files: bool) -> None:
        self._job = job
        self._host = host
        self._workspace = workspace
        self._budget = budget
        self._has_agent_files = has_agent_files
        self._repository = _state_of(workspace.checkout / _REPOSITORY)
        self._missing: list[str] = []
        self._folder = host.work_dir / "setups" / plain_name(job.site_id) / self._key()
        self.not_kept: str | None = None
        """Why `keep` kept nothing, if that is something that can be changed."""

    def restore(self) -> float | None:
        """Copy what an earlier setup left into the workspace. Returns its age in seconds; None if there is none that fits.

        Raises EngineError `setup_failed` if the archive cannot be copied. It is removed then.
        """
        if self._is_off or self._unavailable():
            return None
        try:
            archive = open(self._folder / _ARCHIVE, "rb")  # noqa: SIM115
            paths = [os.fsencode(path) for path in json.loads((self._folder / _PATHS).read_bytes())]
        except FileNotFoundError:
            return None
        try:
            with archive:
                age = time.time() - os.fstat(archive.fileno()).st_mtime
                if age > _KEPT_SECONDS:
                    trash.discard(self._host, self._folder)
                    return None
                start = self._start()
                if not all(_fits(start, path) for path in paths):
                    return None
                self._make_folders_for(paths)
                # The archive has all of the home. No process has run in it yet.
                shutil.rmtree(self._workspace.home)
                self._tar(_EXTRACT, archive)
        except _NotKept as reason:
            trash.discard(self._host, self._folder)
            message = f"The kept result of an earlier setup could not be copied. It was removed; try again. {reason}"
            raise EngineError("setup_failed", "setup", message, retryable=True) from reason
        finally:
            self._workspace.close_objects()
        with suppress(OSError):
            os.utime(self._folder)
        return age

    def keep(self, setup_tree: str) -> None:
        """Keep what setup left for later sessions. `setup_tree` has the files that git does not ignore.

        Call it after a setup that succeeded, before anything is withheld. Raises what `Budget.check_time` does.
        """
        if self._is_off or self._folder.exists() or not self._is_trusted():
            return
        try:
            self._keep(setup_tree)
        except _NotKept as reason:
            self.not_kept = str(reason)
        except OSError as error:
            self.not_kept = f"{error.strerror}."

    def _keep(self, setup_tree: str) -> None:
        if reason := self._unavailable():
            raise _NotKept(reason)
        if setup_tree != self._workspace.start_tree:
            raise _NotKept("It left files that git does not ignore, or changed some. Let .gitignore exclude them.")
        if _state_of(self._workspace.checkout / _REPOSITORY) != self._repository:
            raise _NotKept("It changed the repository in .git, beyond its configuration and hooks.")
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f"{self._folder.name}.", dir=self._folder.parent))
        try:
            self._write(new)
            # Another session may have kept the same meanwhile.
            with suppress(OSError):
                new.rename(self._folder)
        finally:
            trash.discard(self._host, new)

    def _start(self) -> TreePaths:
        return TreePaths(self._workspace.objects, self._workspace.start_tree)

    def _key(self) -> str:
        """The digest of what the setup command sees and what it runs on."""
        job, workspace = self._job, self._workspace
        sees: list[Any]
        if job.setup_cache_files is not None:
            start = self._start()
            entries = {path: start.entry(os.fsencode(path)) for path in sorted(set(job.setup_cache_files))}
            self._missing = [path for path, entry in entries.items() if entry is None]
            sees = [[path, entry.id.decode()] for path, entry in entries.items() if entry]
        else:
            sees = [workspace.base_sha, workspace.start_tree, _digest_of(workspace.attachments)]
        owner = self._host.sandbox_uid if os.geteuid() == 0 else os.geteuid()
        runs_on = [self._host.sandbox, owner, platform.machine(), list(_times(_SYSTEM))]
        site: list[Any] = [job.setup_command, public_url(job.repo_url), workspace.branch, sorted(job.egress_hosts)]
        site += [job.setup_fingerprint, sorted(job.sparse_paths), job.partial_clone]
        # A setup that saw pointers in the place of large files may have left something else.
        sees += sorted(workspace.lfs_missing)
        return hashlib.sha256(json.dumps([site, sees, runs_on]).encode()).hexdigest()

    @property
    def _is_off(self) -> bool:
        """Whether the operator or the site wants setup to run in each session."""
        return self._host.setup_cache_bytes == 0 or self._job.setup_cache_files == ()

    def _is_trusted(self) -> bool:
        """Whether this session may keep a result for others whose other files differ.

        The work of an agent, a commit that a caller chose and attached files can change what setup leaves. Sessions that
        start from the tip of the branch must not get that.
        """
        is_plain = self._workspace.start_tree == self._workspace.base_tree and not self._job.sha
        return self._job.setup_cache_files is None or (is_plain and not self._job.attachments)

    def _unavailable(self) -> str | None:
        if self._host.sandbox == "none":
            return "Without a sandbox the checkout of each session has another path, which installed programs contain."
        if self._missing:
            return f"The site's setup_cache_files name what the repository does not have: {', '.join(self._missing)}"
        if self._has_agent_files:
            return "The site allows agent configuration, and this agent's own is in the home before setup."
        return None

    def _make_folders_for(self, paths: Iterable[bytes]) -> None:
        """Make the folders in an overlay's upper layer that tar would make in a way of its own."""
        if overlay := self._workspace.overlay:
            for path in {path.rpartition(b"/")[0] for path in paths}:
                with folder_in(overlay, path + b"/x" if path else b"x"):
                    pass

    def _write(self, folder: Path) -> None:
        checkout = self._workspace.checkout
        paths = list(self._left())
        repository = [name for name in _CONFIGURATION if (checkout / _REPOSITORY / name).exists()]
        kept = [os.fsencode(f"{_REPOSITORY}/{name}") for name in repository] + paths
        with tempfile.TemporaryFile() as wanted:
            wanted.writelines(b"checkout/" + path + b"\0" for path in kept)
            wanted.write(b"home\0")
            wanted.seek(0)
            self._tar((*_CREATE, f"--file={folder / _ARCHIVE}"), wanted)
        (folder / _PATHS).write_text(json.dumps([os.fsdecode(path) for path in paths]))

    def _left(self) -> Iterator[bytes]:
        """The files and folders that are not in the tree. Of a folder that is not, only the folder itself."""
        start, checkout = self._start(), self._workspace.checkout
        for folder in walk(checkout):
            tracked = start.folder(os.fsencode(folder.path))
            with os.scandir(folder.descriptor) as entries:
                for entry in entries:
                    path, is_folder = folder.path_of(entry.name), entry.is_dir(follow_symlinks=False)
                    known = tracked.get(os.fsencode(entry.name))
                    if path == _REPOSITORY:
                        continue
                    if known is None:
                        if is_folder or entry.is_file(follow_symlinks=False) or not is_whiteout(entry):
                            yield os.fsencode(path)
                    elif known.is_tree and is_folder:
                        folder.subfolders.append(entry.name)
                    elif known.mode == SUBMODULE and is_folder and os.listdir(checkout / path):
                        raise _NotKept("It left files in a submodule.")

    def _tar(self, arguments: Sequence[str], stdin: IO[bytes]) -> None:
        """Run tar in the workspace. Raises _NotKept with its errors."""
        launch = Launch(
            ["tar", f"--directory={self._workspace.root}", *arguments],
            {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            str(self._workspace.root),
            limits={"RLIMIT_FSIZE": self._host.setup_cache_bytes},
        )
        said = b""
        with supervised(launch, self._job.lifeline, stdin, merged=False) as process:
            for data, _ in read_output(process):
                self._budget.check_time("setup")
                self._job.lifeline.check()
                said = (said + data)[-1000:]
            status = process.wait()
        if status:
            lines = said.decode(errors="replace").strip().splitlines()
            raise _NotKept(f"tar: {lines[-1]}" if lines else "It is larger than AGENT_RUNNERS_SETUP_CACHE_BYTES.")


def _fits(start: TreePaths, path: bytes) -> bool:
    """Whether nothing of this session is in the place of what was kept, and its folder exists."""
    folder = path.rpartition(b"/")[0]
    above = start.entry(folder) if folder else None
    return start.entry(path) is None and (not folder or (above is not None and above.is_tree))


def evict_setups(host: Host) -> None:
    """Remove the results that are a day old, and those used longest ago if all of them take up too much disk space."""
    found = sorted((host.work_dir / "setups").glob("*/*"), key=_last_use, reverse=True)
    total = 0
    for folder in found:
        with suppress(OSError):
            archive = (folder / _ARCHIVE).stat()
            total += archive.st_blocks * 512
            if time.time() - archive.st_mtime <= _KEPT_SECONDS and total <= host.setup_cache_bytes:
                continue
        if total > host.setup_cache_bytes or time.time() - _last_use(folder) > _KEPT_SECONDS:
            trash.discard(host, folder)


def _last_use(folder: Path) -> float:
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


def _state_of(repository: Path) -> dict[str, tuple[int, ...]]:
    """The state of each file in a repository, without what is kept or does not matter."""
    found: dict[str, tuple[int, ...]] = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        for folder in walk(repository):
            with os.scandir(folder.descriptor) as entries:
                for entry in entries:
                    if not folder.parent and entry.name in _NOT_COMPARED:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folder.subfolders.append(entry.name)
                    else:
                        status = entry.stat(follow_symlinks=False)
                        found[folder.path_of(entry.name)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def _digest_of(attachments: Path) -> list[list[str]]:
    found = []
    for path in sorted(attachments.iterdir()):
        with open(path, "rb") as file:
            found.append([path.name, hashlib.file_digest(file, "sha256").hexdigest()])
    return found


def _times(paths: Iterable[str]) -> Iterator[int | None]:
    for path in paths:
        try:
            yield os.stat(path).st_mtime_ns
        except OSError:
            yield None
