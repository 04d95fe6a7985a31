"""The only way the engine runs git.

Git runs only on directories that we own, and is configured only by `git_config.py`: not by the machine, the worker's
environment or a repository. Git on a checkout that an agent could tamper with runs the agent's code; git on a directory
of our own does not (`tests/workers/repository/test_git_safety.py` shows both).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import IO, NoReturn

from workers.errors import EngineError, Stage, disk_full
from workers.limits.budget import Budget
from workers.limits.git_group import GitGroup
from workers.limits.git_limits import GitLimits
from workers.processes.launch import Launch, Supervised, supervised
from workers.processes.lifeline import Lifeline
from workers.processes.output import read_output
from workers.repository.access import NO_ACCESS, Access
from workers.repository.isolation import confinement
from workers.repository.object_format import object_format

_GRACE_SECONDS = 2.0
_KEPT_ERRORS = 16_384
# How git reports a full disk: the system's messages, and git's own for an incomplete pack.
_FULL_DISK_MESSAGES = (b"No space left on device", b"Disk quota exceeded", b"Out of diskspace")
_MIN_FREE_BYTES = 1024**2
# How git reports that it reached the limit on memory, or on the size of a file.
_OUT_OF_MEMORY = (b"ut of memory", b"Cannot allocate memory")
_TOO_LARGE_A_FILE = (-signal.SIGXFSZ, 128 + signal.SIGXFSZ)


class GitFailed(EngineError):
    """Git exited with an error. `errors` is its standard error, which callers may translate into a clearer failure."""

    def __init__(self, verb: str, status: int, errors: str, stage: Stage) -> None:
        lines = errors.strip().splitlines()[-3:]
        super().__init__("git_failed", stage, f"git {verb} failed: {' '.join(lines) or f'exit status {status}'}")
        self.status = status
        self.errors = errors


class OverLimit(EngineError):
    """Git needed more than its limits allow: `repository_too_large`, or `diff_too_large` after the checkout."""

    def __init__(self, stage: Stage, what: str) -> None:
        reached = f"is too large for git: it reached its limit of {what}"
        if stage == "checkout":
            remedy = "Use a smaller repository, or ask the operator to raise the limit."
            super().__init__("repository_too_large", stage, f"The repository {reached}. {remedy}")
        else:
            super().__init__("diff_too_large", stage, f"The change {reached}. Make the change smaller.")


@dataclass(frozen=True)
class Git:
    """Git on one directory that we own. `index` and `work_tree` are set only for commands that use them.

    Every command ends when the lifeline ends or the time of the budget is used up, if they are given. It is killed
    with all its children when an exception is raised. `deadline` is the end for all commands together, on the
    monotonic clock.
    """

    directory: Path
    lifeline: Lifeline | None = None
    stage: Stage = "checkout"
    work_tree: Path | None = None
    index: Path | None = None
    budget: Budget | None = None
    deadline: float | None = None
    limits: GitLimits = GitLimits()

    @functools.cached_property
    def object_format(self) -> str:
        """The format of the object ids in the directory."""
        return object_format(self.directory)

    def run(
        self,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        access: Access | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """The whole standard output of one command. For arguments and errors, see `stream`."""
        return b"".join(self.stream(*arguments, stdin=stdin, access=access, timeout=timeout))

    def line(self, *arguments: str) -> str:
        """The output of a command that prints one line."""
        return self.run(*arguments).decode().rstrip("\n")

    def stream(
        self,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        access: Access | None = None,
        timeout: float | None = None,
    ) -> Generator[bytes, None, None]:
        """The standard output of one command, in chunks as they arrive, so its size does not matter.

        `stdin` is an open file, `access` what the command may reach over the network (default: nothing). Raises
        GitFailed, EngineError `disk_full`, OverLimit, TimeoutError after `timeout` seconds, at the deadline or at
        the limit of processor time, and what `check_time` raises.
        """
        with GitGroup(self.limits) as group, self._running(arguments, stdin, access or NO_ACCESS) as popen:
            yield from self._output(arguments[0], popen, group, timeout or self.limits.seconds)

    def write(self, *arguments: str, file: IO[bytes], stdin: IO[bytes] | None = None) -> None:
        """Write the standard output of one command to `file`, an open file on disk, from its place on.

        Git is ended when the file has more than a file may have by `limits`. Raises what `stream` does.
        """
        with GitGroup(self.limits) as group, self.started(arguments, stdin, stdout=file) as popen:
            for _ in self._output(arguments[0], popen, group, self.limits.seconds, file):
                pass
        file.seek(0, os.SEEK_END)

    def _output(
        self,
        verb: str,
        popen: subprocess.Popen[bytes] | Supervised,
        group: GitGroup,
        seconds: float,
        file: IO[bytes] | None = None,
    ) -> Iterator[bytes]:
        """The standard output of a command that was just started, unless it is `file`. Raises what `stream` does."""
        end = time.monotonic() + seconds
        deadline = end if self.deadline is None else min(end, self.deadline)
        errors = bytearray()
        size = 0
        for data, is_error in read_output(popen):
            self.check_time(deadline)
            group.watch(popen.pid)
            self._check_size(file)
            if is_error:
                errors += data
                del errors[:-_KEPT_ERRORS]
            elif data:
                size += len(data)
                if size > self.limits.output_bytes:
                    raise OverLimit(self.stage, f"{self.limits.output_bytes:,} bytes of output")
                yield data
        status = popen.wait()
        self._check_size(file)
        if status:
            self.raise_failure(verb, status, bytes(errors), group)

    def _check_size(self, file: IO[bytes] | None) -> None:
        """The kernel ends git at this size on Linux, once the process is limited."""
        if file is not None and os.fstat(file.fileno()).st_size > self.limits.resources["RLIMIT_FSIZE"]:
            raise OverLimit(self.stage, f"{self.limits.disk_bytes:,} bytes")

    def raise_failure(self, verb: str, status: int, errors: bytes, group: GitGroup) -> NoReturn:
        """Raise the error of a command that ended with `status` and this standard error, see `stream`."""
        if _is_disk_full(errors, self.directory):
            raise disk_full(self.stage)
        if group.ran_out_of_memory or any(message in errors for message in _OUT_OF_MEMORY):
            raise OverLimit(self.stage, f"{self.limits.memory_bytes:,} bytes of memory")
        if status in _TOO_LARGE_A_FILE or self._has_full_pack():
            raise OverLimit(self.stage, f"{self.limits.disk_bytes:,} bytes")
        if status == -signal.SIGKILL and self.limits.cpu_seconds is not None:
            raise TimeoutError("git took too much processor time")
        raise GitFailed(verb, status, errors.decode(errors="replace"), self.stage)

    def _has_full_pack(self) -> bool:
        """Whether a pack reached the limit. The process that wrote it was killed, which git does not report."""
        largest = self.limits.resources["RLIMIT_FSIZE"]
        return any(pack.stat().st_size >= largest for pack in self.directory.glob("objects/pack/tmp_pack_*"))

    def _running(
        self, arguments: tuple[str, ...], stdin: IO[bytes] | None, access: Access
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes] | Supervised]:
        if access.protocols:
            # A command that waits for another machine may wait a long time, and must end if the worker dies.
            launch = Launch(
                self._command(arguments),
                self._environment(access),
                str(self.directory),
                limits=self.limits.resources,
                confinement=confinement(self.directory, access),
            )
            return supervised(launch, self.lifeline or Lifeline(self.limits.seconds), stdin or subprocess.DEVNULL)
        return self.started(arguments, stdin, access)

    @contextlib.contextmanager
    def started(
        self,
        arguments: tuple[str, ...],
        stdin: IO[bytes] | int | None = None,
        access: Access = NO_ACCESS,
        stdout: IO[bytes] | int = subprocess.PIPE,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run one command while the context is open. `stdin` and `stdout` are open files, or `subprocess.PIPE`."""
        try:
            popen = subprocess.Popen(
                self._command(arguments),
                stdin=stdin or subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                cwd=self.directory,
                env=self._environment(access),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise GitFailed(arguments[0], 127, str(error), self.stage) from error
        try:
            self.limits.impose(popen.pid)
            yield popen
        finally:
            _kill(popen)

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        work_tree = [f"--work-tree={self.work_tree}"] if self.work_tree else []
        return ["git", f"--git-dir={self.directory}", *work_tree, *arguments]

    def _environment(self, access: Access) -> dict[str, str]:
        return {**access.environment(), **({"GIT_INDEX_FILE": str(self.index)} if self.index else {})}

    def for_part(self, share: float, cpu_seconds: int | None = None) -> Git:
        """The same, with a share of the time that is left until the deadline, and less processor time for each command."""
        now = time.monotonic()
        deadline = None if self.deadline is None else now + share * (self.deadline - now)
        return replace(
            self, deadline=deadline, limits=replace(self.limits, cpu_seconds=cpu_seconds or self.limits.cpu_seconds)
        )

    def check_time(self, deadline: float | None) -> None:
        """Raise Interrupted if the lifeline has ended, EngineError `time_limit` if the budget is used up, and
        TimeoutError after `deadline` (monotonic clock)."""
        if self.lifeline is not None:
            self.lifeline.check()
        if self.budget is not None:
            self.budget.check_time(self.stage)
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError("git took too long")


def _is_disk_full(errors: bytes, folder: Path) -> bool:
    """Whether git failed because the disk is full. Some commands only say that they could not write, not why."""
    if any(message in errors for message in _FULL_DISK_MESSAGES):
        return True
    if not re.search(rb"(unable|failed|could not|cannot) (to )?(write|create)|write error", errors):
        return False
    free = os.statvfs(folder if folder.exists() else folder.parent)
    return free.f_bavail * free.f_frsize < _MIN_FREE_BYTES or free.f_favail == 0 < free.f_files


def _kill(popen: subprocess.Popen[bytes]) -> None:
    """End the command and its helpers, which share its session.

    SIGTERM first lets git remove its lock files. After a stop git ignores it, so its input and output are closed too.
    """
    is_running = popen.returncode is None
    if is_running:
        # macOS refuses to signal a group that has ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGTERM)
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        if pipe is not None:
            pipe.close()
    if is_running:
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                _wait(popen, _GRACE_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()


def _wait(popen: subprocess.Popen[bytes], seconds: float) -> None:
    """Do as `Popen.wait`, which looks again and again, and so takes a millisecond more. Most commands end at once."""
    end = time.monotonic() + seconds
    # Linux only. Some builds of Python lack it, and some sandboxes refuse it.
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError), FileIO(os.pidfd_open(popen.pid)) as process:
            poll = select.poll()
            poll.register(process, select.POLLIN)
            poll.poll(seconds * 1000)
    popen.wait(max(end - time.monotonic(), 0))
