"""The proxy's process. It reads its configuration as one line of JSON from standard input, and ends when that closes.

It has nothing of the worker's: no environment, no files, no privileges. The sandbox sends it listening sockets, each
with the name of the stage whose rules apply (`workers/sandbox/entry.py`).
"""

from __future__ import annotations

# The resolver loads this on first use. By then the process may run as a user who cannot read the file.
import encodings.idna  # noqa: F401
import json
import os
import socket
import sys
import threading

from .addresses import resolver
from .refusals import Refusals
from .rules import PinnedNames, Rule, Rules
from .server import Server

_NICENESS = 10


def main() -> None:
    # It works for the agent, so like the agent it gets a lower priority than the worker and the API.
    os.nice(_NICENESS)
    configuration = json.loads(sys.stdin.buffer.readline())
    _switch_user(configuration["uid"])
    names = PinnedNames(resolver(configuration["resolve"]))
    rules = {
        stage: Rules([Rule.parse(text, private=private) for text, private in listed], names)
        for stage, listed in configuration["rules"].items()
    }
    refusals = Refusals(sys.stdout.buffer)
    channel = socket.socket(fileno=configuration["channel"])
    threading.Thread(target=receive_listeners, args=(channel, Server(refusals), rules), daemon=True).start()
    while sys.stdin.buffer.read(4096):
        pass
    refusals.finish()
    os._exit(0)


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
