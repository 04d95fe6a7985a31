"""Starts one command under a supervisor, which kills its whole tree when our connection to it closes; or a lock holder."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from typing import IO, Any

from workers.processes import messages
from workers.processes.descendants import kill_descendants
from workers.processes.forking import Forked, fork
from workers.processes.lifeline import Lifeline

_REAP_SECONDS = 10.0


@dataclass(frozen=True)
class Network:
    """A socket of a sandbox's only network, which listens on `port` of its loopback address.

    It is sent, with `stage`, through the descriptor `channel` to the process that accepts the connections.
    """

    channel: int
    port: int
    stage: str


@dataclass(frozen=True)
class Confinement:
    """What a command that is no sandbox may use, see `workers.processes.confinement`.

    `readable` are files and folders that it may read and execute, and `writable` those that it may also change. `ports` are
    the TCP ports that it may connect to; without any, all. `filter` is a seccomp program. Paths that do not exist are left out.
    """

    readable: Sequence[str]
    writable: Sequence[str]
    ports: Sequence[int] = ()
    filter: bytes = b""

    def fields(self) -> dict[str, Any]:
        paths = {"readable": list(self.readable), "writable": list(self.writable)}
        return {**paths, "ports": list(self.ports), "filter": self.filter.hex()}


@dataclass(frozen=True)
class Launch:
    """What the supervisor starts.

    `uid` is the user to become, which only root can. `exposed` pairs files and directories with the paths below /tmp
    where that user finds them (see `command.expose`). `overlay` has the lower, upper and work folder of an overlay and
    the path below /tmp where it is mounted. `limits` are names and values of `resource`.

    For a command that is bubblewrap, `filter` is a file with a seccomp program, `copies` pairs files with the paths where the
    sandbox has copies of them, and `networks` are the sockets of the network to make. `confinement` is for another command.

    `locks` are descriptors that the supervisor keeps open until all processes of the command have ended. The command
    inherits only its standard streams.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    directory: str
    uid: int | None = None
    exposed: Sequence[tuple[str, str]] = ()
    overlay: Sequence[str] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    filter: str | None = None
    copies: Sequence[tuple[str, str]] = ()
    networks: Sequence[Network] = ()
    confinement: Confinement | None = None
    locks: Sequence[int] = ()

    def fields(self, deadline: float) -> dict[str, Any]:
        """What `supervisor.main` starts the command with."""
        return {
            "command": list(self.command),
            "environment": dict(self.environment),
            "directory": self.directory,
            "uid": self.uid,
            "exposed": list(self.exposed),
            "overlay": list(self.overlay),
            "limits": dict(self.limits),
            "filter": self.filter,
            "copies": list(self.copies),
            "networks": [[each.port, each.stage] for each in self.networks],
            "confinement": self.confinement and self.confinement.fields(),
            "deadline": deadline,
        }

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the supervisor gets after the streams of the command."""
        return (*self.locks, *(each.channel for each in self.networks))


class Supervised:
    """A command under its supervisor, made by `supervised`. `stderr` is None if it is merged with `stdout`."""

    def __init__(self, supervisor: Forked, stdout: FileIO, stderr: FileIO | None) -> None:
        self._supervisor = supervisor
        self.stdout = stdout
        self.stderr = stderr
        self._status: int | None = None

    @property
    def pid(self) -> int:
        """The process id of the supervisor. All processes of the command are its descendants."""
        return self._supervisor.pid

    def kill(self) -> None:
        """Have the supervisor kill all processes, without waiting for that. It reads that nothing more will come."""
        with contextlib.suppress(OSError):
            self._supervisor.connection.shutdown(socket.SHUT_WR)

    def poll(self) -> int | None:
        """The exit status, as from `wait`; None while the command or one of its processes runs."""
        with contextlib.suppress(TimeoutError):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until no process is left. Returns the exit status of the command, 128 + N if signal N killed it.

        Raises TimeoutError after `timeout` seconds.
        """
        if self._status is None:
            answer = self._supervisor.receive(timeout)
            if answer is None:
                raise TimeoutError("the command still runs")
            # A supervisor that sent no status was killed itself.
            self._status = int(answer) if answer else 128 + signal.SIGKILL
        return self._status


def prepare(groups: Sequence[str] = ()) -> Forked:
    """Have a supervisor and the process of its command get ready, for `supervised`. They end when the connection closes.

    `groups` are the `cgroup.procs` files of the control groups to join. The kernel has a process wait some ten
    milliseconds for that, which is then over when the command is known. If no command comes, the groups are removed.
    """
    supervisor = fork()
    supervisor.request("supervisor", (), {"groups": list(groups)})
    return supervisor


@contextlib.contextmanager
def supervised(
    launch: Launch,
    lifeline: Lifeline,
    stdin: IO[bytes] | int,
    *,
    merged: bool = False,
    prepared: Forked | None = None,
) -> Iterator[Supervised]:
    """Run `launch` while the context is open. When it ends, in any way, the whole process tree has been killed.

    `stdin` is an open file or `subprocess.DEVNULL`. `merged` sends standard error to standard output, so that the order
    of lines is kept. `prepared` is a supervisor that is ready, from `prepare`.

    The supervisor kills when the connection closes, and the connection exists before the process does. So no process is
    left even if SIGTERM raises SystemExit between any two instructions, or the worker dies.
    """
    supervisor = prepared or prepare()
    with supervisor.connection, contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        reader, writer = _open_pipe(ours, theirs)
        errors, error_writer = (None, writer) if merged else _open_pipe(ours, theirs)
        source = theirs.enter_context(open(os.devnull, "rb")) if isinstance(stdin, int) else stdin
        streams = (source.fileno(), writer.fileno(), error_writer.fileno())
        messages.send(supervisor.connection, (*streams, *launch.descriptors), launch.fields(lifeline.deadline))
        theirs.close()
        supervisor.connection.setblocking(False)
        command = Supervised(supervisor, reader, errors)
        try:
            with lifeline.attached(supervisor.connection.fileno()):
                yield command
        finally:
            _end(command, supervisor)


@contextlib.contextmanager
def holding(lock: int, lifeline: Lifeline) -> Iterator[None]:
    """Have another process hold a lock while the context is open, or until the deadline of the lifeline.

    `lock` is the descriptor that was locked with flock(2). Close it: the other process has a copy.
    """
    holder = fork()
    with holder.connection:
        holder.request("lock-holder", (lock,), {"deadline": lifeline.deadline})
        holder.connection.setblocking(False)
        with lifeline.attached(holder.connection.fileno()):
            yield
        with contextlib.suppress(OSError):
            holder.connection.shutdown(socket.SHUT_WR)
        holder.receive(_REAP_SECONDS)


def _open_pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    reading_end, writing_end = os.pipe()
    return ours.enter_context(FileIO(reading_end, "r")), theirs.enter_context(FileIO(writing_end, "w"))


def _end(command: Supervised, supervisor: Forked) -> None:
    command.kill()
    try:
        command.wait(_REAP_SECONDS)
    except TimeoutError:
        # The command stopped the supervisor, which is only possible without a sandbox.
        kill_descendants(supervisor.pid)
        supervisor.kill()
        command.wait(_REAP_SECONDS)
