"""Runs one command, and kills all of its processes when the worker's lease or the worker itself ends.

It is a role of the fork server. Its request names the control groups of the command, whose process joins them at once. The
command itself, a `workers.processes.launch.Launch`, follows when it is known. Each line after it on the connection is a
deadline in seconds on CLOCK_BOOTTIME. At the deadline, or when the connection closes because the worker
died or wants to stop, the whole process tree is killed, including processes that ignore signals, left their session or
were orphaned on purpose. At the end the supervisor sends the exit status, 128 + N if signal N killed the command.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Sequence
from typing import Any

from . import system_calls
from .command import CANNOT_START, LINUX, become_command
from .deadline import Deadline
from .descendants import kill_descendants
from .messages import receive, send
from .sandbox_network import SandboxNetwork

ENDED_BY_US = 124


def main(connection: socket.socket, request: dict[str, Any], _: list[int]) -> None:
    """Run the command to its end. With it come its streams, the locks to hold and the channels."""
    groups = request["groups"]
    wakeup, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if LINUX:
        system_calls.become_subreaper()
    network = SandboxNetwork()
    orders, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        orders.close()
        connection.close()
        become_command(theirs, groups, network.options, network.inherited)
    theirs.close()
    message = receive(connection)
    if message is None:
        # The worker may have died, and nothing else knows of groups without a workspace.
        orders.close()
        os.waitpid(child, 0)
        _remove(groups)
        return
    launch, descriptors = message
    streams, locks = descriptors[:3], descriptors[3:]
    send(orders, streams, launch)
    orders.close()
    sockets: list[tuple[int, int, str]] = []
    for port, stage in reversed(launch["networks"]):
        sockets.append((locks.pop(), port, stage))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    network.begin(sockets, launch["uid"])
    try:
        status = wait_for_end(child, Deadline(connection, launch["deadline"]), wakeup, network if sockets else None)
    finally:
        kill_all(child, wakeup)
    for lock in locks:
        os.close(lock)
    with contextlib.suppress(ConnectionError):
        connection.sendall(b"%d\n" % status)


def _remove(groups: Sequence[str]) -> None:
    for procs_file in groups:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(procs_file))


def wait_for_end(child: int, deadline: Deadline, wakeup: int, network: SandboxNetwork | None) -> int:
    """Wait until the command has ended, its deadline has passed or the worker has closed the connection."""
    while True:
        status = _reap(child)
        if status is not None:
            return status
        left = deadline.seconds_left
        if left <= 0:
            return ENDED_BY_US
        # `select` does not count the time of a suspension, so each wait is short.
        sources: list[Any] = [deadline, wakeup, *([network] if network else [])]
        ready, _, _ = select.select(sources, [], [], min(left, 1.0))
        if deadline in ready and not deadline.read():
            return ENDED_BY_US
        if wakeup in ready:
            os.read(wakeup, 4096)
        if network and network in ready:
            try:
                network = network if network.read() else None
            except OSError as error:
                os.write(2, f"the sandbox's network could not be set up: {error}\n".encode())
                return CANNOT_START


def _reap(child: int) -> int | None:
    """Reap all processes that have ended, also orphans. Returns the exit status of `child` if it is one of them."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break
    return None


def kill_all(child: int, wakeup: int) -> None:
    """Kill until no process is left. A subreaper without children has no descendants either.

    `wakeup` is readable when a process has ended.
    """
    while True:
        if LINUX:
            kill_descendants(os.getpid())
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        if select.select([wakeup], [], [], 0.005)[0]:
            os.read(wakeup, 4096)
