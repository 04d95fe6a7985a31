"""Runs one command under the supervisor and hands out its output, line by line, as it comes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import IO

from workers import supervisor
from workers.budget import Budget
from workers.errors import Stage
from workers.lifeline import Lifeline
from workers.lines import Line, LineSplitter, Stream
from workers.watch import Watch

# How long `lines` waits before it lets its caller look around.
TICK_SECONDS = 0.5
_CHUNK = 65_536
_REAP_SECONDS = 10.0


@dataclass(frozen=True)
class Launch:
    """What the supervisor starts. It travels over a pipe: neither argv nor environment of ours tells of it.

    `uid` is the user to become, only possible as root. `exposed` pairs files and directories with the places
    below /tmp where that user finds them (see `supervisor.expose`). `limits` are names and values of `resource`.
    `filter` is a file with a seccomp program, which the command, being bubblewrap, is told to use. `groups` are the
    `cgroup.procs` files of the control groups to join. `descriptors` are those of ours that the command gets, under the
    same numbers. `locks` are those that the supervisor alone keeps, for as long as anything of the command lives.
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
        """The line that `supervisor.Orders` reads."""
        words = {
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
        return json.dumps(words).encode() + b"\n"


class Process:
    """A running command, made by `running`."""

    def __init__(
        self, popen: subprocess.Popen[bytes], lifeline: Lifeline, budget: Budget, watch: Watch | None, stage: Stage
    ) -> None:
        self._popen = popen
        self._lifeline = lifeline
        self._budget = budget
        self._watch = watch
        self._stage = stage
        self.status: int | None = None
        """The exit status, 128 + N after signal N; None until `lines` has come to its end."""

    def lines(self) -> Iterator[Line | None]:
        """Each line of output, and None whenever nothing came for a moment, until the command and all it left end.

        Raises EngineError `time_limit`, `stalled`, `output_limit` and those of `Watch.check`, and Interrupted where
        the lifeline ran out.
        """
        with selectors.DefaultSelector() as selector:
            self._listen(selector, self._popen.stdout, "out")
            self._listen(selector, self._popen.stderr, "err")
            self._budget.hear()
            while selector.get_map():
                self._budget.check_time(self._stage)
                if self._watch:
                    self._watch.check(self._stage)
                ready = selector.select(min(TICK_SECONDS, max(self._budget.seconds_left, 0)))
                for key, _ in ready:
                    yield from self._read(selector, key)
                if ready:
                    self._budget.hear()
                elif self._popen.poll() is not None:
                    break  # Someone killed the supervisor, and what it left still holds the pipes.
                else:
                    self._budget.check_silence(self._stage)
                    yield None
        self.status = _as_status(self._popen.wait())
        self._lifeline.check()

    def _listen(self, selector: selectors.BaseSelector, pipe: IO[bytes] | None, stream: Stream) -> None:
        if pipe is not None:
            splitter = LineSplitter(stream, self._budget.limits.max_line_bytes)
            selector.register(pipe, selectors.EVENT_READ, splitter)

    def _read(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> Iterator[Line]:
        data = os.read(key.fd, _CHUNK)
        self._budget.spend_output(len(data), self._stage)
        if data:
            yield from key.data.feed(data)
            self._budget.check_line(key.data.begun, self._stage)
        else:
            selector.unregister(key.fileobj)
            yield from key.data.finish()


@contextlib.contextmanager
def running(
    launch: Launch,
    *,
    lifeline: Lifeline,
    budget: Budget,
    stage: Stage,
    watch: Watch | None = None,
    stdin: bytes = b"",
    merged: bool = False,
) -> Iterator[Process]:
    """`supervised` with output by lines, limits, and a failure for each that names `stage`.

    `stdin` is what the command reads.
    """
    with (
        _as_file(stdin) as source,
        supervised(launch, lifeline, source, merged=merged) as popen,
        watch.over(popen.pid) if watch else contextlib.nullcontext(),
    ):
        yield Process(popen, lifeline, budget, watch, stage)


@contextlib.contextmanager
def supervised(
    launch: Launch, lifeline: Lifeline, stdin: IO[bytes] | int, *, merged: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `launch` while the context is open; its whole tree is dead when the context is left, however it is left.

    `merged` sends what it writes to standard error to standard output, so that the order is kept.

    The closing of the pipe is what kills, and the pipe is there before the process is. So even where SIGTERM
    raises SystemExit between any two instructions, or the worker dies, nothing that was started stays behind.
    """
    popen: subprocess.Popen[bytes] | None = None
    ear, mouth = os.pipe()
    with FileIO(ear, "r") as reader, FileIO(mouth, "w") as writer:
        try:
            popen = _start_supervisor((reader.fileno(), *launch.descriptors, *launch.locks), stdin, merged)
            reader.close()
            _write_all(writer, launch.encode(lifeline.deadline))
            os.set_blocking(writer.fileno(), False)
            with lifeline.held_by(writer.fileno()):
                yield popen
        finally:
            writer.close()
            if popen is not None:
                _reap(popen)


def _as_file(content: bytes) -> IO[bytes]:
    """An open file of `content`, which on Linux nobody can write to: whoever reads it may own it, and be an agent."""
    if not hasattr(os, "memfd_create"):
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.write(content)
        file.seek(0)
        return file
    memory = os.fdopen(os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b")
    memory.write(content)
    memory.seek(0)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return memory


def _start_supervisor(descriptors: tuple[int, ...], stdin: IO[bytes] | int, merged: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(supervisor.__file__)), str(descriptors[0])],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,
        # Nothing of the worker's environment, except what a Python built with a shared library needs to start.
        env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
    )


def _write_all(writer: FileIO, data: bytes) -> None:
    while data:
        data = data[writer.write(data) :]


def _reap(popen: subprocess.Popen[bytes]) -> None:
    try:
        popen.wait(_REAP_SECONDS)
    except subprocess.TimeoutExpired:
        # The supervisor was stopped by what it runs, which only a command without a sandbox can do.
        supervisor.kill_descendants(popen.pid)
        popen.kill()
        popen.wait(_REAP_SECONDS)
    finally:
        for pipe in (popen.stdout, popen.stderr):
            if pipe is not None:
                pipe.close()


def _as_status(code: int) -> int:
    return code if code >= 0 else 128 - code
