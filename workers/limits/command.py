"""Runs one command within its limits and yields its output line by line."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import tempfile
import threading
from collections.abc import Iterator, Sequence
from io import FileIO
from typing import IO

from workers.errors import Stage
from workers.limits.budget import Budget
from workers.limits.monitor import Monitor
from workers.processes.forking import Forked
from workers.processes.launch import Launch, Supervised, supervised
from workers.processes.lifeline import Lifeline
from workers.processes.lines import Line, LineSplitter, Stream

# How long `lines` waits for output before it yields None: first right after some output, then again and again.
FIRST_TICK_SECONDS, TICK_SECONDS = 0.012, 0.5
_CHUNK = 65_536


class Process:
    """A running command, made by `running`."""

    def __init__(
        self, supervised: Supervised, lifeline: Lifeline, budget: Budget, monitor: Monitor | None, stage: Stage
    ) -> None:
        self._supervised = supervised
        self._lifeline = lifeline
        self._budget = budget
        self._monitor = monitor
        self._stage = stage
        self.status: int | None = None
        """The exit status, 128 + N after signal N; None until `lines` has ended."""

    def kill(self) -> None:
        """Begin to kill the whole process tree, without waiting for its end."""
        self._supervised.kill()

    def lines(self) -> Iterator[Line | None]:
        """Each line of output, and None after a moment without output, until the command and its children have ended.

        Raises EngineError `time_limit`, `stalled`, `output_limit` and those of `Monitor.check`, and Interrupted if the
        deadline of the lifeline has passed.
        """
        with selectors.DefaultSelector() as selector:
            self._listen(selector, self._supervised.stdout, "out")
            self._listen(selector, self._supervised.stderr, "err")
            self._budget.note_output()
            tick = TICK_SECONDS
            while selector.get_map():
                self._budget.check_time(self._stage)
                if self._monitor:
                    self._monitor.check(self._stage)
                ready = selector.select(min(tick, max(self._budget.seconds_left, 0)))
                tick = FIRST_TICK_SECONDS if ready else TICK_SECONDS
                for key, _ in ready:
                    yield from self._read(selector, key)
                if ready:
                    self._budget.note_output()
                elif self._supervised.poll() is None:
                    self._budget.check_silence(self._stage)
                    yield None
                elif not selector.select(0):
                    # All was read. The supervisor still has the pipes open, or if it was killed, a process that it left.
                    break
            for key in selector.get_map().values():
                yield from key.data.finish()
        self.status = self._supervised.wait()
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
            self._budget.check_line(key.data.pending, self._stage)
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
    monitor: Monitor | None = None,
    stdin: bytes | list[bytes] = b"",
    merged: bool = False,
    prepared: Forked | None = None,
) -> Iterator[Process]:
    """`supervised`, with output by lines and with limits, whose errors name `stage`.

    `stdin` is the command's standard input: the content of a file, or what each read of a pipe returns, in pieces of at most
    4,096 bytes.
    """
    with (
        _as_file(stdin) if isinstance(stdin, bytes) else _as_pipe(stdin) as source,
        supervised(launch, lifeline, source, merged=merged, prepared=prepared) as command,
        monitor.watching(command.pid) if monitor else contextlib.nullcontext(),
    ):
        yield Process(command, lifeline, budget, monitor, stage)


def _as_file(content: bytes) -> IO[bytes]:
    """An open file with `content`. On Linux it is sealed, because the agent that reads it may own it."""
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


def _as_pipe(packets: Sequence[bytes]) -> IO[bytes]:
    """The reading end of a pipe. Another thread fills it, because it may hold fewer packets; it ends when no one reads."""
    ends = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
    reading, writing = FileIO(ends[0]), FileIO(ends[1], "w")
    threading.Thread(target=_fill, args=(writing, packets), name="stdin", daemon=True).start()
    return reading


def _fill(pipe: FileIO, packets: Sequence[bytes]) -> None:
    with pipe, contextlib.suppress(BrokenPipeError):
        for packet in packets:
            pipe.write(packet)
