"""The command line, run in a process that is forked from one which has imported it already.

A command imports for a second what takes it a hundredth of one to do, and tests run hundreds of them. A command that
becomes another module goes on in the same process instead of starting Python again.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn

from app.cli.main import main
from tests.background import fork_in_background

SECONDS = 300.0
fresh_processes = multiprocessing.get_context("forkserver")
"""Starts processes that have nothing of this one's but what they are given, and run nothing that it registered for its exit."""
fresh_processes.set_forkserver_preload(["tests.program_modules"])


def run_program(arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `agent-runners` with these arguments to its end, as `subprocess.run` does."""
    with tempfile.NamedTemporaryFile("w+") as out, tempfile.NamedTemporaryFile("w+") as err:
        process = fresh_processes.Process(target=_become, args=(arguments, dict(environment), out.name, err.name))
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, SECONDS)
        return subprocess.CompletedProcess(arguments, process.exitcode, _read(out), _read(err))


class Started:
    """`agent-runners` that goes on beside the test, or another module, with the methods of `subprocess.Popen`. Its output
    is appended to a file."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path, module: str = "") -> None:
        # Whoever started it may read the file at once.
        log.touch()
        self._process = fresh_processes.Process(target=_go_on, args=(arguments, dict(environment), str(log), module))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Does nothing if the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = SECONDS) -> int:
        """The exit status, once it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("agent-runners", timeout or SECONDS)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self.wait()


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _go_on(arguments: list[str], environment: dict[str, str], log: str, module: str) -> NoReturn:
    os.setsid()
    _become(arguments, environment, log, log, module)


def _become(arguments: list[str], environment: dict[str, str], out: str, err: str, module: str = "") -> NoReturn:
    write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for path, flags, descriptor in ((os.devnull, os.O_RDONLY, 0), (out, write, 1), (err, write, 2)):
        os.dup2(os.open(path, flags), descriptor)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))
    # What could not be imported is passed over in silence otherwise, and paid for by each command.
    assert "tests.program_modules" in sys.modules
    os.environ.clear()
    os.environ.update(environment)
    if module:
        _go_on_as_module(sys.executable, ["-m", module, *arguments], {})
    os.execve = _go_on_as_module
    sys.argv = ["agent-runners", *arguments]
    sys.exit(main())


def _go_on_as_module(_program: str, command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """What `python -m MODULE ...` does, without another Python."""
    os.environ.update(environment)
    module = command[command.index("-m") + 1]
    sys.argv = [module, *command[command.index("-m") + 2 :]]
    if sys.argv[:2] == ["tasks.worker", "sessions"]:
        fork_in_background()
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)
