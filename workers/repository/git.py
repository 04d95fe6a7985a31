"""The one way in which the engine runs git.

Only directories of ours are ever handed to it, and nothing but what stands here configures it: neither the machine,
the worker's environment nor a repository. The rule behind it: host git on a checkout that an agent could tamper with
runs the agent's code, host git on a directory of its own does not (`tests/workers/repository/test_git_safety.py` shows both).
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, cast

import git

from workers.errors import EngineError, Stage, disk_full
from workers.limits.budget import Budget
from workers.processes.launch import Launch, supervised
from workers.processes.lifeline import Lifeline

# Rules of `git fsck` that old tools broke in histories which cannot be rewritten any more: how a person, a moment or a
# mode is written. What decides which files a tree holds and where they end up stays an error.
_HARMLESS_SLIPS = (
    *("badDate", "badDateOverflow", "badEmail", "badName", "badTimezone", "missingEmail", "missingNameBeforeEmail"),
    *("missingSpaceBeforeDate", "missingSpaceBeforeEmail", "multipleAuthors", "zeroPaddedDate", "zeroPaddedFilemode"),
)
CONFIG: Mapping[str, str] = {
    "core.hooksPath": os.devnull,
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.autocrlf": "false",
    "core.askPass": "",
    "credential.helper": "",
    # Whoever left its mark on a file cannot hide a change by setting back the clock of that file.
    "core.checkStat": "default",
    "core.trustctime": "true",
    # Bigger files are passed through rather than held in memory, where git can do that.
    "core.bigFileThreshold": "64m",
    "checkout.workers": "0",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    # A pack is moved into place when it is complete, so an interrupted fetch leaves no commit without its trees.
    "fetch.unpackLimit": "1",
    "transfer.fsckObjects": "true",
    **dict.fromkeys((f"fetch.fsck.{rule}" for rule in _HARMLESS_SLIPS), "ignore"),
    "http.followRedirects": "false",
    # A fetch ends by itself when the other side falls silent.
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "protocol.version": "2",
}

# What git may see of the worker's environment; the rest holds the worker's secrets or changes what git does.
_INHERITED = {"PATH", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK"}
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
_CHUNK = 1 << 18
_TICK_SECONDS = 0.25
# The server is asked for a sign of life, as in `http.lowSpeedTime`.
_SSH_OPTIONS = ("BatchMode=yes", "ControlMaster=no", "ServerAliveInterval=15", "ServerAliveCountMax=4")
_GRACE_SECONDS = 2.0
_KEPT_ERRORS = 16_384
# What git says of a full disk: the system's words, or where a pack came out short its own.
_NO_ROOM = (b"No space left on device", b"Disk quota exceeded", b"Out of diskspace")
_ROOM = 1024**2


class GitFailed(EngineError):
    """Git ended with an error that nobody translated. `errors` is what it wrote, for those who do translate."""

    def __init__(self, verb: str, status: int, errors: str, stage: Stage) -> None:
        lines = errors.strip().splitlines()[-3:]
        super().__init__("git_failed", stage, f"git {verb} failed: {' '.join(lines) or f'exit status {status}'}")
        self.status = status
        self.errors = errors


class OutOfMemory(EngineError):
    """Git would have needed more memory than it may take up: `diff_too_large`."""

    def __init__(self, stage: Stage) -> None:
        message = "The change is too large for git: it would need more memory than it may take up here."
        super().__init__("diff_too_large", stage, message)


@dataclass(frozen=True)
class Git:
    """Git on one directory of ours. `index` and `work_tree` are only set where a command is to use them.

    Every command ends with the lifeline and the time of the budget, if it has them, and is killed, with all its
    children, whenever an exception passes through. `deadline` is when all commands together end, on the monotonic clock.
    `memory` is how many bytes each process may take up where the system can see to that (Linux): git reads whole what an
    agent has left, and outside of the agent's limits.
    """

    directory: Path
    lifeline: Lifeline | None = None
    stage: Stage = "checkout"
    work_tree: Path | None = None
    index: Path | None = None
    budget: Budget | None = None
    deadline: float | None = None
    memory: int | None = None

    def run(
        self,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        access: Access | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """The whole standard output of one command. For the arguments and errors see `stream`."""
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
        """The standard output of one command as it comes, so that its size never matters.

        `stdin` is an open file, `access` what the command may reach over the network (default: nothing). Raises
        GitFailed, EngineError `disk_full`, OutOfMemory, TimeoutError after `timeout` seconds or at the deadline, and what
        `check_time` raises.
        """
        ends = [each for each in (self.deadline, timeout and time.monotonic() + timeout) if each is not None]
        deadline = min(ends, default=None)
        errors = bytearray()
        with self._started(arguments, stdin, access or Access()) as popen:
            for data, is_error in _pump(popen):
                self.check_time(deadline)
                if is_error:
                    errors += data
                    del errors[:-_KEPT_ERRORS]
                elif data:
                    yield data
            status = popen.wait()
        if status and _tells_of_full_disk(bytes(errors), self.directory):
            raise disk_full(self.stage)
        if status and self.memory and b"ut of memory" in errors:
            raise OutOfMemory(self.stage)
        if status:
            raise GitFailed(arguments[0], status, errors.decode(errors="replace"), self.stage)

    @contextlib.contextmanager
    def _started(
        self, arguments: tuple[str, ...], stdin: IO[bytes] | None, access: Access
    ) -> Iterator[subprocess.Popen[bytes]]:
        where = [f"--git-dir={self.directory}", *([f"--work-tree={self.work_tree}"] if self.work_tree else [])]
        environment = self._environment(access)
        if access.protocols and self.lifeline is not None:
            # What waits for another machine may wait for long, and must not go on when the worker has died.
            kept = {name: os.environ[name] for name in _kept(os.environ) - environment.keys()}
            launch = Launch(["git", *where, *arguments], {**kept, **environment}, str(self.directory))
            with supervised(launch, self.lifeline, stdin or subprocess.DEVNULL) as popen:
                yield popen
            return
        process: git.Git.AutoInterrupt = git.Git(self.directory).execute(
            [*_without_the_rest(environment), "git", *where, *arguments],
            as_process=True,
            istream=cast(BinaryIO, stdin),
            env=environment,
            start_new_session=True,
        )
        popen = cast("subprocess.Popen[bytes]", process.proc)
        try:
            if self.memory is not None:
                _limit_memory(popen.pid, self.memory)
            yield popen
        finally:
            _end(popen)

    def _environment(self, access: Access) -> dict[str, str]:
        config = [*CONFIG.items(), *access.config]
        return {
            "HOME": os.devnull,
            "LC_ALL": "C",
            "LANGUAGE": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_SSH_COMMAND": shlex.join(["ssh", *(f"-o{each}" for each in (*_SSH_OPTIONS, *access.ssh_options))]),
            "GIT_ALLOW_PROTOCOL": ":".join(access.protocols),
            "GIT_CONFIG_COUNT": str(len(config)),
            **{f"GIT_CONFIG_KEY_{number}": key for number, (key, _) in enumerate(config)},
            **{f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(config)},
            **({"GIT_INDEX_FILE": str(self.index)} if self.index else {}),
        }

    def check_time(self, deadline: float | None) -> None:
        """Raise Interrupted where the lifeline ran out, EngineError `time_limit` where the budget is used up, and
        TimeoutError after `deadline` (monotonic clock)."""
        if self.lifeline is not None:
            self.lifeline.check()
        if self.budget is not None:
            self.budget.check_time(self.stage)
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError("git took too long")


@dataclass(frozen=True)
class Access:
    """What is granted to one command: protocols of git, and configuration that may hold a credential.

    The configuration travels in the environment of that one command, so it is in no argument list, URL or log.
    `ssh_options` are for the ssh that it may start.
    """

    protocols: tuple[str, ...] = ()
    config: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ssh_options: tuple[str, ...] = ()


def _kept(names: Iterable[str]) -> set[str]:
    """Those of the worker's variables that git gets."""
    return {name for name in names if name in _INHERITED or name.upper() in _PROXIES}


def _without_the_rest(environment: Mapping[str, str]) -> list[str]:
    """A prefix that takes the worker's other variables away: GitPython always hands on the whole environment."""
    names = os.environ.keys() - _kept(os.environ) - environment.keys()
    return ["env", *(word for name in sorted(names) for word in ("-u", name))] if names else []


def _pump(popen: subprocess.Popen[bytes]) -> Iterator[tuple[bytes, bool]]:
    """What the process writes, with whether it is an error, and an empty piece whenever nothing came for a moment."""
    with selectors.DefaultSelector() as selector:
        for pipe in (popen.stdout, popen.stderr):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(_TICK_SECONDS):
                data = os.read(key.fd, _CHUNK)
                if data:
                    yield data, key.fileobj is popen.stderr
                else:
                    selector.unregister(key.fileobj)
            yield b"", False


def _limit_memory(pid: int, most: int) -> None:
    """Limit a process that has just been started, and what it starts, which is too early to have done anything yet."""
    if sys.platform == "linux":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # Its data rather than its address space, in which whole packs lie that take up no memory.
            resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))


def _tells_of_full_disk(errors: bytes, folder: Path) -> bool:
    """Whether git failed because the disk is full. Not all of its commands say why they could not write."""
    if any(words in errors for words in _NO_ROOM):
        return True
    if not re.search(rb"(unable|failed|could not|cannot) (to )?(write|create)|write error", errors):
        return False
    left = os.statvfs(folder if folder.exists() else folder.parent)
    return left.f_bavail * left.f_frsize < _ROOM or left.f_favail == 0 < left.f_files


def _end(popen: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the command. Git gets a moment to remove its lock files; its helpers share its session."""
    if popen.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(_GRACE_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
    for pipe in (popen.stdout, popen.stderr):
        if pipe is not None:
            pipe.close()
