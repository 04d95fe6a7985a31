"""The fork server: a small process, ready to be copied, that every supervisor and proxy of a worker is forked from.

Starting Python takes fifty times longer than a fork. `workers.processes.forking` starts one server per worker. The
server holds nothing but the end of one socket. For each descriptor that arrives there, which is one end of a
connection, it forks a process and forgets it. The forked process reads from its own connection which role it has and
what to do, so the server's memory never holds any of it: neither a failed request nor a secret in one reaches the next.

Whoever holds the socket can have processes forked. That is the worker, and no process that it executes. The server
ends when the last holder has ended.

It imports only the standard library, and what the roles need. Each fork copies the tables of all its memory, so a role that
needs far more than the others, and that not every worker uses, is left to a second server. The first one forks it when it is
first asked for such a role, and passes on what arrives for it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from . import system_calls
from .command import LINUX
from .messages import LARGE, LENGTH, ORDINARY, receive
from .priority import FOR_AGENTS, lower_priority

Role = Callable[[socket.socket, dict[str, Any], list[int]], None]
"""What a forked process does. It gets its connection, the request, and the descriptors that came with it."""

# They are meant for the worker, for example when a service manager ends all processes of a service. What the server
# forked has to run until the worker lets it end.
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

_SERVES_AGENTS = ("egress-proxy", "model-gateway")


def main(socket_number: int, roles: Mapping[str, Role], load_large: Callable[[], Mapping[str, Role]]) -> None:
    """Fork a process for each connection that arrives. `load_large` imports the roles of the second server."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    # The kernel reaps the processes: their connections tell the worker how they ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # An error up to here is shown in the worker's log. From here on, nothing of the worker's is open.
    os.dup2(0, 2)
    _show("fork-server")
    _Server(socket.socket(fileno=socket_number), roles, load_large).run()


class _Server:
    """Forks processes for connections that arrive on `requests`. If it is the first server, it has `load_large`."""

    def __init__(
        self,
        requests: socket.socket,
        roles: Mapping[str, Role],
        load_large: Callable[[], Mapping[str, Role]] | None = None,
    ) -> None:
        self._requests, self._roles, self._load_large = requests, roles, load_large
        self._second: socket.socket | None = None

    def run(self) -> None:
        gc.freeze()
        while True:
            kind, descriptors, _, _ = socket.recv_fds(self._requests, 1, 1)
            if not kind:
                return
            for descriptor in descriptors:
                if kind == LARGE and self._load_large:
                    self._pass_on(descriptor, self._load_large)
                else:
                    _fork(self._serve, descriptor)
                os.close(descriptor)

    def _pass_on(self, descriptor: int, load_large: Callable[[], Mapping[str, Role]]) -> None:
        """Leave a connection to the second server, or to another one if that has ended or does not take it."""
        if self._second is not None:
            if _send(self._second, descriptor):
                return
            self._second.close()
        self._second, theirs = socket.socketpair()
        with theirs:
            _fork(self._become_second, descriptor, theirs, load_large)
        _send(self._second, descriptor)

    def _become_second(
        self, descriptor: int, requests: socket.socket, load_large: Callable[[], Mapping[str, Role]]
    ) -> None:
        # A copy of the connection would keep it open. It arrives once more.
        os.close(descriptor)
        self._close()
        _show("fork-server-2")
        _Server(requests, load_large()).run()

    def _serve(self, descriptor: int) -> None:
        """Be a process that the worker asked for."""
        self._close()
        os.set_inheritable(descriptor, False)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        with socket.socket(fileno=descriptor) as connection:
            connection.sendall(LENGTH.pack(os.getpid()))
            if message := receive(connection):
                request, descriptors = message
                role = request.pop("role")
                _show(role)
                if role in _SERVES_AGENTS:
                    lower_priority(FOR_AGENTS)
                self._roles[role](connection, request, descriptors)

    def _close(self) -> None:
        """Close what belongs to the server, in a process that it has forked."""
        self._requests.close()
        if self._second is not None:
            self._second.close()


def _fork(work: Callable[..., None], *arguments: Any) -> None:
    """Fork a process that does this work and ends. If that is not possible, the worker sees that its connection closes."""
    try:
        child = os.fork()
    except OSError:
        return
    if child == 0:
        try:
            work(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)


def _send(requests: socket.socket, descriptor: int) -> bool:
    try:
        socket.send_fds(requests, [ORDINARY], [descriptor], socket.MSG_DONTWAIT)
    except OSError:
        return False
    return True


def _show(name: str) -> None:
    """Set the name of this process, because all that are forked here have the same command line."""
    if LINUX:
        system_calls.set_name(name)
