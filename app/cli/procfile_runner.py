"""Start processes, print their output, and stop them in order.

Honcho parses the Procfile and prints the lines. Its manager stops everything at once and kills after five seconds,
so the order of the stop and its longer time limits are implemented here.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from honcho.colour import get_colours
from honcho.printer import Message, Printer

from app.cli.processes import ROOT, end_with_parent

SYSTEM = "system"
GRACE_SECONDS = 60.0
BROKER_GRACE_SECONDS = 10.0
READ_SECONDS = 0.5


class Supervisor:
    """A set of named processes. Each has its own session, so that Ctrl-C in a terminal reaches only us."""

    def __init__(self, names: Iterable[str], environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._printer = Printer(sys.stdout, width=max(map(len, (SYSTEM, *names))))
        self._colours = get_colours()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lines: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._readers: dict[str, threading.Thread] = {}
        self._last_lines: dict[str, str] = {}
        self._interrupts = 0
        self._expected_interrupts = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._interrupt)

    @property
    def interrupted(self) -> bool:
        """Whether a signal has asked us to stop."""
        return self._interrupts > 0

    def start(self, name: str, command: str) -> None:
        """Start one process from its line in the Procfile."""
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [*end_with_parent(), *shlex.split(command)],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # The process also holds the reading end: if we are killed during its shutdown, a worker whose output pipe
            # breaks would hang forever.
            pass_fds=[reading],
        )
        os.close(writing)
        self._running[name] = process
        reader = threading.Thread(target=self._read, args=(name, reading, next(self._colours)), daemon=True)
        self._readers[name] = reader
        reader.start()
        self.say(f"{name} started (pid {process.pid})")

    def wait(self, until: Callable[[], bool] = lambda: False) -> str | None:
        """Print lines until `until()` is true or a signal arrives. Returns the name of a process that ended before."""
        while not (self.interrupted or until()):
            self._print_lines(seconds=0.1)
            if ended := self._ended():
                return ended[0]
        self._expected_interrupts = min(self._interrupts, 1)
        return None

    def stop(self, names: Iterable[str], seconds: float = GRACE_SECONDS) -> None:
        """Terminate these processes, wait, and kill those that are left. Another signal ends the wait."""
        deadline = time.monotonic() + seconds
        stopping = [name for name in names if name in self._running]
        for name in stopping:
            self._running[name].terminate()
        while any(name in self._running for name in stopping):
            self._print_lines(seconds=0.1)
            self._ended()
            if time.monotonic() > deadline or self._interrupts > self._expected_interrupts:
                self._kill(name for name in stopping if name in self._running)

    def say(self, text: str) -> None:
        """Print a line of our own among those of the processes."""
        self._printer.write(Message("line", text, datetime.datetime.now(), SYSTEM, None))

    def last_line(self, name: str) -> str:
        """The last line that a process printed, which is usually the reason for its end; `none` if there is none."""
        return self._last_lines.get(name, "none")

    def _ended(self) -> list[str]:
        ended = [name for name, process in self._running.items() if process.poll() is not None]
        for name in ended:
            process = self._running.pop(name)
            # Its last output may not have been read yet. The wait is limited, since a child may hold the pipe open.
            self._readers.pop(name).join(timeout=READ_SECONDS)
            self._print_lines(seconds=0)
            self.say(f"{name} ended ({_explain(process.returncode)})")
            # A worker that was killed leaves its pool processes running.
            _kill_group(process.pid)
        return ended

    def _kill(self, names: Iterable[str]) -> None:
        for name in names:
            self.say(f"{name} did not stop in time, so it is killed")
            _kill_group(self._running[name].pid)

    def _read(self, name: str, reading: int, colour: str) -> None:
        with open(reading, "rb") as output:
            for line in output:
                self._lines.put(Message("line", line, datetime.datetime.now(), name, colour))

    def _print_lines(self, seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._print(self._lines.get(timeout=seconds))
            while True:
                self._print(self._lines.get_nowait())

    def _print(self, message: Message) -> None:
        if text := message.data.decode(errors="replace").strip():
            self._last_lines[message.name] = text
        self._printer.write(message)

    def _interrupt(self, _number: int, _frame: object) -> None:
        self._interrupts += 1


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _explain(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
