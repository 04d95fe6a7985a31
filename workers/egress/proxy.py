"""The proxy's process. It is told what to do by one line of JSON on standard input, and ends when that is closed.

It has nothing of the worker: no environment, no files, no rights. From the sandbox it gets sockets that listen there,
each with the name of the stage whose rules hold for it (`workers/sandbox/entry.py` sends them).
"""

from __future__ import annotations

# The resolver needs it when it is first asked, and by then another user may not be able to read it.
import encodings.idna  # noqa: F401
import json
import os
import socket
import sys
import threading

from .addresses import resolver
from .refusals import Refusals
from .rules import Names, Rule, Rules
from .server import Server

_NICENESS = 10


def main() -> None:
    # It works for the agent, so like the agent it lets the worker and the API go first.
    os.nice(_NICENESS)
    orders = json.loads(sys.stdin.buffer.readline())
    _become(orders["uid"])
    names = Names(resolver(orders["resolve"]))
    rules = {
        stage: Rules([Rule.parse(text, private=private) for text, private in listed], names)
        for stage, listed in orders["rules"].items()
    }
    refusals = Refusals(sys.stdout.buffer)
    channel = socket.socket(fileno=orders["channel"])
    threading.Thread(target=receive_listeners, args=(channel, Server(refusals), rules), daemon=True).start()
    while sys.stdin.buffer.read(4096):
        pass
    refusals.finish()
    os._exit(0)


def _become(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)


def receive_listeners(channel: socket.socket, server: Server, rules: dict[str, Rules]) -> None:
    """Serve each listening socket that comes; the sandbox that it belongs to runs one command of the attempt."""
    while True:
        stage, descriptors, _, _ = socket.recv_fds(channel, 64, 1)
        if not stage:
            return
        listener = socket.socket(fileno=descriptors[0])
        threading.Thread(target=server.serve, args=(listener, rules[stage.decode()]), daemon=True).start()
