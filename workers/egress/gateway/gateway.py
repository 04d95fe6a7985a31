"""The gateway's process. It is a role of the fork server, and ends when its connection to the worker closes.

It holds the keys of models, so no other process may look into it: it runs as a user of its own where the worker is
root, and the kernel lets no one else trace it or read its memory. Like the proxy it gets listening sockets from the
supervisor of a sandbox.
"""

from __future__ import annotations

import ctypes

# The resolver loads this on first use. By then the process may run as a user who cannot read the file.
import encodings.idna  # noqa: F401
import os
import resource
import socket
import sys
import threading
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult

from ..addresses import resolver
from ..refusals import Refusals
from ..rules import PinnedNames, Rule, Rules
from .agent_connection import Caps
from .bound import by_token
from .reports import Reports
from .routes import Route
from .server import Server
from .upstream import Upstream

# What agents send is parsed here, outside of the limits of their sandbox.
_MOST_MEMORY = 1024**3
# From <linux/prctl.h>.
_PR_SET_DUMPABLE = 4


def main(connection: socket.socket, configuration: dict[str, Any], descriptors: list[int]) -> None:
    """Serve the sockets that arrive on the channel, the only descriptor, and report to the worker."""
    hide_memory()
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    routes = [Route.of(fields) for fields in configuration.pop("routes")]
    names = PinnedNames(resolver(configuration["resolve"]))
    bound = by_token(configuration.pop("bound"))
    # Each has rules of its own: a site may bind a secret to the name of a model's server, which may be private.
    models = _upstream(configuration["hosts"], [each.base for each in routes], names)
    hosts = _upstream(configuration["bound_hosts"], [each.base for each in bound.values()], names)
    if configuration["uid"] is not None:
        become(configuration["uid"])
    # A change of user may undo it.
    hide_memory()
    reports = Reports(connection)
    server = Server(routes, models, reports, Refusals(reports), bound, hosts)
    channel = socket.socket(fileno=descriptors[0])
    threading.Thread(target=receive_listeners, args=(channel, server), daemon=True).start()
    reports.wait_for_end()
    # The threads may be anywhere, and what they do has no purpose any more.
    os._exit(0)


def _upstream(hosts: Iterable[tuple[str, bool]], servers: Iterable[SplitResult], names: PinnedNames) -> Upstream:
    rules = Rules([Rule.parse(text, private=private) for text, private in hosts], names)
    return Upstream(rules, Caps.connections, tls=any(each.scheme == "https" for each in servers))


def hide_memory() -> None:
    """Forbid other processes of the same user to trace this one or read its memory, and the kernel to dump it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def become(uid: int) -> None:
    """Give up the rights of root for those of a user without any files."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def receive_listeners(channel: socket.socket, server: Server) -> None:
    """Serve each listening socket that arrives. Each belongs to one command of the attempt."""
    while True:
        stage, descriptors, _, _ = socket.recv_fds(channel, 64, 1)
        if not stage:
            return
        threading.Thread(target=server.serve, args=(socket.socket(fileno=descriptors[0]),), daemon=True).start()
