"""The fork server: a small process, ready to be copied, that every supervisor and proxy of a worker is forked from.

Starting Python takes fifty times longer than a fork. `workers.processes.forking` starts one server per worker. The
server holds nothing but the end of one socket. For each descriptor that arrives there, which is one end of a
connection, it forks a process and forgets it. The forked process reads from its own connection which role it has and
what to do, so the server's memory never holds any of it: neither a failed request nor a secret in one reaches the next.

Whoever holds the socket can have processes forked. That is the worker, and no process that it executes. The server
ends when the last holder has ended.

It imports only the standard library, and what the roles need.
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
from .messages import LENGTH, receive
from .priority import FOR_AGENTS, lower_priority

Role = Callable[[socket.socket, dict[str, Any], list[int]], None]
"""What a forked process does. It gets its connection, the request, and the descriptors that came with it."""

# They are meant for the worker, for example when a service manager ends all processes of a service. What the server
# forked has to run until the worker lets it end.
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

_SERVES_AGENTS = ("egress-proxy", "model-gateway")


def main(socket_number: int, roles: Mapping[str, Role]) -> None:
    """Fork a process for each connection that arrives."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    # The kernel reaps the processes: their connections tell the worker how they ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # An error up to here is shown in the worker's log. From here on, nothing of the worker's is open.
    os.dup2(0, 2)
    gc.freeze()
    _show("fork-server")
    with socket.socket(fileno=socket_number) as requests:
        while True:
            data, descriptors, _, _ = socket.recv_fds(requests, 1, 1)
            if not data:
                return
            for descriptor in descriptors:
                _fork(requests, descriptor, roles)


def _fork(requests: socket.socket, descriptor: int, roles: Mapping[str, Role]) -> None:
    try:
        child = os.fork()
    except OSError:
        # The worker sees that the connection closes.
        child = -1
    if child == 0:
        try:
            requests.close()
            _serve(descriptor, roles)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(descriptor)


def _serve(descriptor: int, roles: Mapping[str, Role]) -> None:
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
            roles[role](connection, request, descriptors)
    os._exit(0)


def _show(name: str) -> None:
    """Set the name of this process, because all that are forked here have the same command line."""
    if LINUX:
        system_calls.set_name(name)
