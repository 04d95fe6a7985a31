"""The worker's side of the gateway: starts it for an attempt, has each call counted, and ends it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from workers.egress.gateway.counts import Counts
from workers.egress.gateway.providers import Provider, host_of
from workers.events import Refusal
from workers.job import BoundSecret, Host
from workers.processes.forking import Forked, fork
from workers.processes.messages import LARGE

HOST, PORT = "127.0.0.1", 3129
"""Where programs inside the sandbox reach the gateway. Some take no other address for a server without TLS."""

_TOKEN_BYTES = 32
_END_SECONDS = 5.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Used:
    """What a call has used so far. `counts` is None if its answer did not say."""

    call: int
    model: str | None
    url: str
    counts: Counts | None


@dataclass(frozen=True)
class Ended:
    """An answer has ended: it is `complete`, or broke off. `error` is what its server said then, if anything. `offers_tools` is
    whether its call did."""

    model: str | None
    error: str | None
    complete: bool
    offers_tools: bool


@dataclass(frozen=True)
class Limited:
    """The provider took no call, or ended its answer for the same reason: because of the key (401), of a rate, because the account
    is used up, or because its server is overloaded, fails or does not answer (from 500 on).

    `reset_at` is in seconds since 1970.
    """

    status: int
    exhausted: bool
    reset_at: float | None
    message: str


Report = Used | Ended | Limited | Refusal
Count = Callable[[Report], bool]
"""Takes a report. Returns whether there may be more calls."""


class Gateway:
    """A running gateway, made by `open_gateway`. Listening sockets are sent to it through the descriptor `channel`.

    A thread has each report taken. When there may be no more calls, it kills the gateway, which cuts the calls in
    flight.
    """

    def __init__(self, address: str, variables: dict[str, str], gateway: Forked, channel: socket.socket) -> None:
        self.address = address
        self.variables = variables
        """Variables that point the agent at the gateway: URLs of it, and tokens instead of keys and bound secrets."""
        self._gateway = gateway
        self._channel = channel
        self._thread: threading.Thread | None = None

    @property
    def channel(self) -> int:
        return self._channel.fileno()

    def start(self, count: Count) -> None:
        """Have reports taken from now on, in a thread."""
        self._thread = threading.Thread(target=self._run, args=(count,), name="gateway", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the gateway, and with it the calls in flight. Its tokens are good for nothing any more."""
        self._gateway.kill()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)
        self._channel.close()
        self._gateway.connection.close()

    def _run(self, count: Count) -> None:
        connection = self._gateway.connection
        try:
            with connection.makefile("rb") as lines:
                for line in lines:
                    if not self._take(json.loads(line), count):
                        self._gateway.kill()
                        return
        except OSError:
            return
        except Exception:
            # What cannot be counted must not continue.
            log.exception("a report of the model gateway could not be counted")
            self._gateway.kill()

    def _take(self, fields: dict[str, Any], count: Count) -> bool:
        kind = fields.pop("kind", None)
        if kind is None:
            return count(_refusal(**fields))
        if kind == "used":
            counts = fields.pop("counts")
            goes_on = count(Used(**fields, counts=Counts(**counts) if counts else None))
        elif kind == "ended":
            goes_on = count(Ended(**fields))
        else:
            goes_on = count(Limited(**fields))
        if goes_on:
            with contextlib.suppress(OSError):
                self._gateway.connection.sendall(b".")
        return goes_on


def open_gateway(host: Host, providers: Sequence[Provider], bound: Sequence[BoundSecret] = ()) -> Gateway:
    """Start a gateway to `providers`, and to the hosts of `bound`. It ends with this process at the latest."""
    of_bound = {each.name: secrets.token_urlsafe(_TOKEN_BYTES) for each in bound}
    tokens = {variable: secrets.token_urlsafe(_TOKEN_BYTES) for each in providers for variable in each.keys}
    routes = [
        {
            "prefix": each.prefix,
            "api": each.api,
            "url": each.url,
            "keys": {tokens[variable]: key for variable, key in each.keys.items()},
        }
        for each in providers
    ]
    configuration = {
        # A user of its own: not that of agents.
        "uid": host.sandbox_uid + 1 if os.geteuid() == 0 else None,
        "resolve": dict(host.resolve),
        # The operator names the servers of models, which may be private. Those of bound secrets are named by their site.
        "hosts": [(each.host, True) for each in providers],
        "bound_hosts": [(host_of(each.url), host.allow_private_addresses) for each in bound],
        "routes": routes,
        "bound": [{"token": of_bound[each.name], **dataclasses.asdict(each)} for each in bound],
    }
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, contextlib.ExitStack() as unused:
        unused.callback(ours.close)
        gateway = fork(LARGE)
        unused.callback(gateway.connection.close)
        gateway.request("model-gateway", (theirs.fileno(),), configuration)
        port = PORT if host.sandbox != "none" else _listen_here(ours)
        unused.pop_all()
    address = f"http://{HOST}:{port}"
    variables = {**tokens, **{each.variable: address + each.prefix for each in providers}}
    for name, token in of_bound.items():
        variables |= {name: token, f"{name}_URL": f"{address}/{token}"}
    return Gateway(address, variables, gateway, ours)


def _listen_here(channel: socket.socket) -> int:
    """Without a sandbox: listen on a port of this machine."""
    with socket.create_server((HOST, 0)) as listener:
        socket.send_fds(channel, [b"agent"], [listener.fileno()])
        return int(listener.getsockname()[1])


def _refusal(target: str, reason: str, times: int) -> Refusal:
    return Refusal(f"Model gateway: {target} was refused", reason, times)
