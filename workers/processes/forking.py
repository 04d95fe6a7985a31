"""The worker's side of the fork server: starts it, and has it fork supervisors and proxies."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h11

from workers.processes import messages
from workers.processes.messages import LENGTH, ORDINARY

# The server imports only what it forks and the libraries which that needs, by these paths.
_START = """
import sys
sys.path += sys.argv[2:]
from egress import proxy
from processes import fork_server, lock_holder, supervisor

def load_large():
    from egress.gateway import gateway
    return {"model-gateway": gateway.main}

roles = {"supervisor": supervisor.main, "lock-holder": lock_holder.main, "egress-proxy": proxy.main}
fork_server.main(int(sys.argv[1]), roles, load_large)
"""
_PATH = (str(Path(__file__).parents[1]), str(Path(h11.__file__).parents[1]))
# How long a server may take to fork. It takes about a millisecond, but it may be starting, on a busy machine.
_FORK_SECONDS = 30.0
_TRIES = 2
_END_SECONDS = 1.0


class Forked:
    """A process that the fork server forked, and our end of the connection to it. It ends when that closes."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.connection = connection

    def request(self, role: str, descriptors: Sequence[int], fields: Mapping[str, Any]) -> None:
        """Say what to do, and pass copies of `descriptors` on. If the process has ended already, `receive` says so."""
        messages.send(self.connection, descriptors, {"role": role, **fields})

    def receive(self, timeout: float | None) -> bytes | None:
        """What the process has sent; empty if it has ended, None if it does neither within `timeout` seconds."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if not poll.poll(None if timeout is None else timeout * 1000):
            return None
        try:
            return self.connection.recv(1 << 16)
        except ConnectionResetError:
            return b""

    def has_ended(self) -> bool:
        """Whether the process has ended and everything that it sent was received."""
        return _is_closed(self.connection)

    def kill(self) -> None:
        """Kill the process. Call it only while the connection is open: then no other process can have its id."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class _Server:
    """The fork server of this worker. Processes that the worker forks share it, each with its own connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._ahead: list[Forked] = []

    def start(self) -> socket.socket:
        """Start the server if it does not run. Returns the socket for requests."""
        with self._lock:
            if self._requests is None or _is_closed(self._requests):
                self._ahead.clear()
                self._requests = self._start()
            return self._requests

    def fork_ahead(self, count: int) -> None:
        """Ask for processes that `fork` then returns, without waiting for them."""
        # If it is not possible, `fork` says so.
        with contextlib.suppress(OSError):
            requests = self.start()
            self._ahead += filter(None, (_ask(requests, ORDINARY) for _ in range(count)))

    def fork(self, kind: bytes) -> Forked:
        """Fork a process. Raises OSError if that is not possible."""
        for _ in range(_TRIES):
            requests = self.start()
            forked = self._ahead.pop() if self._ahead and kind == ORDINARY else _ask(requests, kind)
            if forked is not None and _has_started(forked):
                return forked
            with self._lock:
                if self._requests is requests:
                    # It does not answer. Leave it to the other processes that share it, and start another one.
                    self._requests = None
        raise OSError(errno.EAGAIN, "the fork server does not answer")

    def close(self) -> None:
        """Let the server end, unless other processes share it."""
        self._ahead.clear()
        requests, self._requests = self._requests, None
        if requests is not None and self._popen is not None:
            requests.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_END_SECONDS)

    def _start(self) -> socket.socket:
        if self._popen is not None:
            self._popen.poll()
        ours, theirs = socket.socketpair()
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, str(theirs.fileno()), *_PATH],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
                # None of the worker's variables, except the one that a Python with a shared library needs to start.
                env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            )
        return ours


def _ask(requests: socket.socket, kind: bytes) -> Forked | None:
    """Ask for a process. Its id is not known yet. None if there is no server."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            socket.send_fds(requests, [kind], [theirs.fileno()])
        except ConnectionError:
            ours.close()
            return None
    return Forked(0, ours)


def _has_started(forked: Forked) -> bool:
    """Wait for the process that was asked for, and learn its id. False if it does not start."""
    answer = forked.receive(_FORK_SECONDS)
    if not answer:
        forked.connection.close()
        return False
    (forked.pid,) = LENGTH.unpack(answer)
    return True


_server = _Server()
atexit.register(_server.close)


def start_fork_server() -> None:
    """Start this worker's fork server, unless it runs. Call it before forking processes that are to share it.

    Without that, the first use starts one.
    """
    _server.start()


def fork_ahead(count: int) -> None:
    """Have as many processes for ordinary roles forked as are soon needed. They end with this process if they are not used."""
    _server.fork_ahead(count)


def fork(kind: bytes = ORDINARY) -> Forked:
    """Have a process forked, which waits for its `request` of a role of this kind. Raises OSError if that is not possible."""
    return _server.fork(kind)


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
