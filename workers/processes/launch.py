"""Starts one command under the supervisor, which kills its whole tree when our pipe to it closes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import IO

from workers.processes import supervisor
from workers.processes.lifeline import Lifeline

_REAP_SECONDS = 10.0


@dataclass(frozen=True)
class Launch:
    """What the supervisor starts. It is sent over a pipe, so that it is not visible in any argv or environment.

    `uid` is the user to become, which only root can. `exposed` pairs files and directories with the paths below /tmp
    where that user finds them (see `supervisor.expose`). `limits` are names and values of `resource`. `filter` is a
    file with a seccomp program, for a command that is bubblewrap. `groups` are the `cgroup.procs` files of the control
    groups to join. `descriptors` are descriptors of ours that the command inherits, with the same numbers. `locks` are
    descriptors that only the supervisor keeps, until all processes of the command have ended.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    directory: str
    uid: int | None = None
    exposed: Sequence[tuple[str, str]] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    groups: Sequence[str] = ()
    filter: str | None = None
    descriptors: Sequence[int] = ()
    locks: Sequence[int] = ()

    def encode(self, deadline: float) -> bytes:
        """The line that `supervisor.WorkerPipe` reads."""
        fields = {
            "command": list(self.command),
            "environment": dict(self.environment),
            "directory": self.directory,
            "uid": self.uid,
            "exposed": list(self.exposed),
            "limits": dict(self.limits),
            "groups": list(self.groups),
            "filter": self.filter,
            "descriptors": list(self.descriptors),
            "locks": list(self.locks),
            "deadline": deadline,
        }
        return json.dumps(fields).encode() + b"\n"


@contextlib.contextmanager
def supervised(
    launch: Launch, lifeline: Lifeline, stdin: IO[bytes] | int, *, merged: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `launch` while the context is open. When it ends, in any way, the whole process tree has been killed.

    `merged` sends standard error to standard output, so that the order of lines is kept.

    The supervisor kills when the pipe closes, and the pipe exists before the process does. So no process is left even
    if SIGTERM raises SystemExit between any two instructions, or the worker dies.
    """
    popen: subprocess.Popen[bytes] | None = None
    reading_end, writing_end = os.pipe()
    with FileIO(reading_end, "r") as reader, FileIO(writing_end, "w") as writer:
        try:
            popen = _start_supervisor((reader.fileno(), *launch.descriptors, *launch.locks), stdin, merged)
            reader.close()
            _write_all(writer, launch.encode(lifeline.deadline))
            os.set_blocking(writer.fileno(), False)
            with lifeline.attached(writer.fileno()):
                yield popen
        finally:
            writer.close()
            if popen is not None:
                _reap(popen)


def _start_supervisor(descriptors: tuple[int, ...], stdin: IO[bytes] | int, merged: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(supervisor.__file__)), str(descriptors[0])],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,
        # None of the worker's variables, except the one that a Python with a shared library needs to start.
        env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
    )


def _write_all(writer: FileIO, data: bytes) -> None:
    while data:
        data = data[writer.write(data) :]


def _reap(popen: subprocess.Popen[bytes]) -> None:
    try:
        popen.wait(_REAP_SECONDS)
    except subprocess.TimeoutExpired:
        # The command stopped the supervisor, which is only possible without a sandbox.
        supervisor.kill_descendants(popen.pid)
        popen.kill()
        popen.wait(_REAP_SECONDS)
    finally:
        for pipe in (popen.stdout, popen.stderr):
            if pipe is not None:
                pipe.close()
