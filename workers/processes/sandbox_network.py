"""The network of a sandbox: sockets that listen inside and are accepted on outside, by the proxy and the gateway.

A socket belongs to the network namespace that it was created in, whichever process accepts on it. So a process of ours
enters the network of the sandbox, listens, and sends the sockets out, before bubblewrap starts the command:
it reports the namespaces that it created (`--info-fd`), and waits until the sockets exist (`--block-fd`). None of our
code runs inside the sandbox.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence

from . import system_calls
from .command import become_user

# From <linux/in.h>. Allows an address whose interface is not up yet: bubblewrap sets it up meanwhile.
_IP_FREEBIND = 15
_CONNECTIONS_WAITING = 128


class SandboxNetwork:
    """The network of one sandbox that is about to be started."""

    def __init__(self) -> None:
        self._sockets: Sequence[tuple[int, int, str]] = ()
        self._uid: int | None = None
        self._report_end, self._report = os.pipe()
        self._gate, self._gate_end = os.pipe()
        self._reported = b""

    @property
    def options(self) -> list[str]:
        """Options for bubblewrap, which inherits the descriptors in `inherited`."""
        return ["--info-fd", str(self._report), "--block-fd", str(self._gate)]

    @property
    def inherited(self) -> tuple[int, int]:
        return self._report, self._gate

    def fileno(self) -> int:
        """A descriptor that is readable when bubblewrap has something to report."""
        return self._report_end

    def begin(self, sockets: Sequence[tuple[int, int, str]], uid: int | None) -> None:
        """Name the sockets to create, and the user that the sandbox runs as, if it is another one.

        Each is a channel, a port and a stage. The channel leads to the process that accepts connections, the proxy or
        the gateway, which gets the socket with the name of the stage whose rules apply. Call it once bubblewrap's
        process has been started: it closes the descriptors that are for that one.
        """
        self._sockets, self._uid = sockets, uid
        os.close(self._report)
        os.close(self._gate)

    def read(self) -> bool:
        """Read what bubblewrap reports. When it is complete, create the socket and let the command start.

        Returns False when there is nothing more to read: then, or because bubblewrap failed, and says why itself.
        Raises OSError if the socket cannot be created. Then the command is never started.
        """
        chunk = os.read(self._report_end, 4096)
        self._reported += chunk
        if self._reported.rstrip().endswith(b"}"):
            self._listen_inside(json.loads(self._reported)["child-pid"])
            os.write(self._gate_end, b"1")
            chunk = b""
        if not chunk:
            for descriptor in (self._report_end, self._gate_end, *(channel for channel, _, _ in self._sockets)):
                os.close(descriptor)
        return bool(chunk)

    def _listen_inside(self, pid: int) -> None:
        """Have a forked process create the socket: whoever has entered a user namespace cannot leave it again."""
        failure, failed = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self._send_listeners(pid)
            except OSError as error:
                os.write(failed, str(error).encode())
            finally:
                os._exit(0)
        os.close(failed)
        with open(failure, "rb") as reason:
            message = reason.read().decode()
        os.waitpid(child, 0)
        if message:
            raise OSError(message)

    def _send_listeners(self, pid: int) -> None:
        if self._uid is not None:
            # The user who created the namespaces may enter them. Root may not, in a container without CAP_SYS_PTRACE.
            become_user(self._uid)
        system_calls.enter_network(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))
        for number, port, stage in self._sockets:
            with socket.socket() as listener, socket.socket(fileno=number) as channel:
                listener.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
                listener.bind(("127.0.0.1", port))
                listener.listen(_CONNECTIONS_WAITING)
                socket.send_fds(channel, [stage.encode()], [listener.fileno()])
