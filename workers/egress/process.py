"""The worker's side of the proxy: starts it for an attempt, reads which connections it refused, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence

from workers.egress.gateway.process import HOST as GATEWAY_HOST
from workers.egress.gateway.process import PORT as GATEWAY_PORT
from workers.egress.gateway.process import Gateway
from workers.egress.rules import Rule
from workers.errors import Stage
from workers.events import Refusal
from workers.job import Host
from workers.processes.forking import Forked, fork
from workers.processes.launch import Network

PORT = 3128
"""The port of the proxy on the loopback address inside the sandbox."""

_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_END_SECONDS = 5.0


class Egress:
    """A running proxy, made by `open_egress`. Listening sockets are sent to it through the descriptor `channel`.

    `gateway` is the attempt's way to its model, if that has one.
    """

    def __init__(
        self,
        rules: Mapping[Stage, Sequence[Rule]],
        proxy: Forked,
        channel: socket.socket,
        gateway: Gateway | None = None,
    ) -> None:
        self._rules = rules
        self._proxy = proxy
        self._channel = channel
        self._gateway = gateway
        self._unread = b""

    @property
    def channel(self) -> int:
        return self._channel.fileno()

    def networks(self, stage: Stage) -> list[Network]:
        """The sockets that a sandbox has in `stage`. Only agents reach the gateway."""
        own = [Network(self.channel, PORT, stage)]
        gateway = self._gateway_of(stage)
        return [*own, Network(gateway.channel, GATEWAY_PORT, stage)] if gateway else own

    def variables(self, stage: Stage) -> dict[str, str]:
        """Variables that make programs use the proxy, except for hosts inside the sandbox itself."""
        proxy = dict.fromkeys(_PROXY_VARIABLES, f"http://127.0.0.1:{PORT}")
        # An allowed loopback name means the machine outside, for example for a model served there.
        rules = self._rules.get(stage, ())
        inside = [
            name
            for name in _LOOPBACK
            if not any(rule.matches(name) for rule in rules) or (name == GATEWAY_HOST and self._gateway_of(stage))
        ]
        upper = {**proxy, "NO_PROXY": ",".join(inside)}
        return {**upper, **{name.lower(): value for name, value in upper.items()}, "NODE_USE_ENV_PROXY": "1"}

    def _gateway_of(self, stage: Stage) -> Gateway | None:
        return self._gateway if stage == "agent" else None

    def is_running(self) -> bool:
        return not self._proxy.has_ended()

    def new_refusals(self) -> Iterator[Refusal]:
        """The connections refused since the last call. Never blocks."""
        yield from self._read_refusals(0)

    def finish(self) -> Iterator[Refusal]:
        """End the proxy, and yield the refusals that were not read yet."""
        with contextlib.suppress(OSError):
            self._proxy.connection.shutdown(socket.SHUT_WR)
        yield from self._read_refusals(_END_SECONDS)

    def close(self) -> None:
        """End the proxy, whatever state it is in."""
        if self.is_running():
            self._proxy.kill()
        self._channel.close()
        self._proxy.connection.close()

    def _read_refusals(self, timeout: float) -> Iterator[Refusal]:
        """Read refusals until there are no more for `timeout` seconds, or the proxy has ended."""
        while data := self._proxy.receive(timeout):
            *lines, self._unread = (self._unread + data).split(b"\n")
            yield from (_refusal(**json.loads(line)) for line in lines)


def open_egress(host: Host, rules: Mapping[Stage, Sequence[Rule]], gateway: Gateway | None = None) -> Egress:
    """Start a proxy that allows what `rules` allow in each stage. It ends with this process at the latest."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    configuration = {
        "uid": host.sandbox_uid if os.geteuid() == 0 else None,
        "resolve": dict(host.resolve),
        "rules": {stage: [(str(rule), rule.private) for rule in listed] for stage, listed in rules.items()},
    }
    with theirs, contextlib.ExitStack() as unused:
        unused.callback(ours.close)
        proxy = fork()
        unused.callback(proxy.connection.close)
        proxy.request("egress-proxy", (theirs.fileno(),), configuration)
        unused.pop_all()
    return Egress(rules, proxy, ours, gateway)


def _refusal(target: str, reason: str, times: int) -> Refusal:
    repeated = "" if times == 1 else f" {times:,} more times"
    return Refusal(f"Network: {target} was refused{repeated}", reason, times)
