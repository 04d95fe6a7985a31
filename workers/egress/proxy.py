"""The proxy's process. It is a role of the fork server, and ends when its connection to the worker closes.

It has nothing of the worker's: no environment, no files, no privileges. A sandbox's supervisor sends it listening
sockets, each with the name of the stage whose rules apply (`workers/processes/sandbox_network.py`).
"""

from __future__ import annotations

# The resolver loads this on first use. By then the process may run as a user who cannot read the file.
import encodings.idna  # noqa: F401
import os
import socket
import threading
from typing import Any

from .addresses import resolver
from .refusals import Refusals
from .rules import PinnedNames, Rule, Rules
from .server import Server


def main(connection: socket.socket, configuration: dict[str, Any], descriptors: list[int]) -> None:
    """Serve the sockets that arrive on the channel, the only descriptor, and write refusals to the connection."""
    _switch_user(configuration["uid"])
    names = PinnedNames(resolver(configuration["resolve"]))
    rules = {
        stage: Rules([Rule.parse(text, private=private) for text, private in listed], names)
        for stage, listed in configuration["rules"].items()
    }
    refusals = Refusals(connection.makefile("wb"))
    channel = socket.socket(fileno=descriptors[0])
    threading.Thread(target=receive_listeners, args=(channel, Server(refusals), rules), daemon=True).start()
    while connection.recv(4096):
        pass
    refusals.finish()


def _switch_user(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)


def receive_listeners(channel: socket.socket, server: Server, rules: dict[str, Rules]) -> None:
    """Serve each listening socket that arrives. Each belongs to one sandboxed command of the attempt."""
    while True:
        stage, descriptors, _, _ = socket.recv_fds(channel, 64, 1)
        if not stage:
            return
        listener = socket.socket(fileno=descriptors[0])
        threading.Thread(target=server.serve, args=(listener, rules[stage.decode()]), daemon=True).start()
