"""The worker's side of the proxy: starts it for an attempt, reads which connections it refused, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import h11

from workers.egress.rules import Rule
from workers.errors import Stage
from workers.job import Host, Refusal

PORT = 3128
"""The port of the proxy on the loopback address inside the sandbox."""

# Imports only the proxy's package and the one library it needs. Not importing the rest of the engine is also faster.
_START = "import sys; sys.path += sys.argv[1:]; from egress.proxy import main; main()"
_PATH = (str(Path(__file__).parents[1]), str(Path(h11.__file__).parents[1]))
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_END_SECONDS = 5.0
_TICK_SECONDS = 0.005
_PIECE = 1 << 16


class Egress:
    """A running proxy, made by `open_egress`. Listening sockets are sent to it through the descriptor `channel`."""

    def __init__(self, rules: Mapping[Stage, Sequence[Rule]], popen: subprocess.Popen[bytes], channel: socket.socket):
        self._rules = rules
        self._popen = popen
        self._channel = channel
        self._unread = b""
        assert popen.stdout
        os.set_blocking(popen.stdout.fileno(), False)

    @property
    def channel(self) -> int:
        return self._channel.fileno()

    def variables(self, stage: Stage) -> dict[str, str]:
        """Variables that make programs use the proxy, except for hosts inside the sandbox itself."""
        proxy = dict.fromkeys(_PROXY_VARIABLES, f"http://127.0.0.1:{PORT}")
        # An allowed loopback name means the machine outside, for example for a model served there.
        inside = [name for name in _LOOPBACK if not any(rule.matches(name) for rule in self._rules.get(stage, ()))]
        upper = {**proxy, "NO_PROXY": ",".join(inside)}
        return {**upper, **{name.lower(): value for name, value in upper.items()}, "NODE_USE_ENV_PROXY": "1"}

    def new_refusals(self) -> Iterator[Refusal]:
        """The connections refused since the last call. Never blocks."""
        assert self._popen.stdout
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._popen.stdout.fileno(), _PIECE):
                *lines, self._unread = (self._unread + data).split(b"\n")
                yield from (_refusal(**json.loads(line)) for line in lines)

    def finish(self) -> Iterator[Refusal]:
        """End the proxy, and yield the refusals that were not read yet."""
        assert self._popen.stdin
        self._popen.stdin.close()
        deadline = time.monotonic() + _END_SECONDS
        while self._popen.poll() is None and time.monotonic() < deadline:
            # It may have more to write than a pipe holds.
            yield from self.new_refusals()
            time.sleep(_TICK_SECONDS)
        yield from self.new_refusals()

    def close(self) -> None:
        """End the proxy, whatever state it is in."""
        self._popen.kill()
        self._popen.wait()
        self._channel.close()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()


def open_egress(host: Host, rules: Mapping[Stage, Sequence[Rule]]) -> Egress:
    """Start a proxy that allows what `rules` allow in each stage. It ends with this process at the latest."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, *_PATH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            cwd="/",
            # Nothing of the worker's environment, except what a Python built with a shared library needs to start.
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
        )
        configuration = {
            "uid": host.sandbox_uid if os.geteuid() == 0 else None,
            "channel": theirs.fileno(),
            "resolve": dict(host.resolve),
            "rules": {stage: [(str(rule), rule.private) for rule in listed] for stage, listed in rules.items()},
        }
        assert popen.stdin
        with contextlib.suppress(BrokenPipeError):
            popen.stdin.write(json.dumps(configuration).encode() + b"\n")
            popen.stdin.flush()
    return Egress(rules, popen, ours)


def _refusal(target: str, reason: str, times: int) -> Refusal:
    repeated = "" if times == 1 else f" {times:,} more times"
    return Refusal(f"Network: {target} was refused{repeated}", reason, times)
