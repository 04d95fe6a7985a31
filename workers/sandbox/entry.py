"""The first program in a sandbox with a network: connects it to the proxy, then executes the command.

`entry.py CHANNEL PORT STAGE COMMAND...` listens on the sandbox's loopback address, sends the socket to the
proxy outside, and closes its own copy. A socket stays in the network namespace in which it was created, whichever
process accepts on it, so no process has to keep running here.
"""

from __future__ import annotations

import os
import signal
import socket
import sys


def main(channel_number: int, port: int, stage: str, command: list[str]) -> None:
    try:
        with (
            socket.socket(fileno=channel_number) as channel,
            socket.create_server(("127.0.0.1", port), backlog=128) as listener,
        ):
            socket.send_fds(channel, [stage.encode()], [listener.fileno()])
    except OSError as error:
        sys.exit(f"the sandbox's network could not be set up: {error}")
    # Python ignores these signals, and the command would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
