"""What the sandbox and its proxy add to the start of a command and to its network requests.

Each figure is measured beside the same operation without a sandbox, in turns.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import socket
import socketserver
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, Samples, Size
from workers.egress.process import PORT, Egress, open_egress
from workers.egress.rules import Rule
from workers.job import Host, Limits
from workers.limits.budget import Budget
from workers.limits.command import running
from workers.processes.launch import Launch
from workers.processes.lifeline import Lifeline
from workers.sandbox import open_sandbox

MEBIBYTE = 2**20
DOWNLOAD_BYTES = 256 * MEBIBYTE
# Prints the seconds of each request and of one download as JSON. With the port of a proxy, it opens a tunnel first.
CLIENT = """
import json, socket, sys, time

port, proxy, requests, size = (int(each) for each in sys.argv[1:])

def ask(count):
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", proxy or port)) as server:
        if proxy:
            server.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % port)
            assert b" 200 " in server.recv(100)
        server.sendall(b"%d\\n" % count)
        buffer, left = bytearray(1 << 18), count
        while left:
            left -= server.recv_into(buffer)
    return time.perf_counter() - begun

ask(1)
print(json.dumps([[ask(1) for _ in range(requests)], ask(size)]))
"""


@dataclass(frozen=True)
class Folders:
    root: Path
    checkout: Path
    home: Path
    attachments: Path
    overlay = None


class Bytes(socketserver.StreamRequestHandler):
    """Answers a number with that many bytes."""

    def handle(self) -> None:
        left, piece = int(self.rfile.readline()), bytes(1 << 18)
        while left > 0:
            left -= self.connection.send(piece[:left])


def measure(size: Size) -> Iterator[Figure]:
    """Start of a command, requests and a download, in the sandbox and without one."""
    rounds = size.pick(1, 30, 100)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, server() as port:
        host = Host(Path(folder))
        with contextlib.closing(
            open_egress(host, {"agent": [Rule.parse(f"127.0.0.1:{port}", private=True)]})
        ) as egress:
            yield from measure_starts(host, egress, rounds)
            yield from measure_requests(host, egress, port, rounds, size.pick(MEBIBYTE, DOWNLOAD_BYTES, DOWNLOAD_BYTES))


@contextlib.contextmanager
def server() -> Iterator[int]:
    """Run a server in its own process. Yields its port."""
    listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Bytes)
    process = multiprocessing.get_context("fork").Process(target=listener.serve_forever, daemon=True)
    process.start()
    yield listener.server_address[1]
    process.kill()
    listener.server_close()


def measure_starts(host: Host, egress: Egress, rounds: int) -> Iterator[Figure]:
    bare = Launch(["true"], {"PATH": os.environ["PATH"]}, "/")
    sealed, open_ = (launch(host, each, ["true"]) for each in (None, egress))

    def start_proxy() -> None:
        with (
            contextlib.closing(open_egress(host, {"setup": ()})) as one,
            socket.create_server(("127.0.0.1", 0)) as listener,
        ):
            socket.send_fds(socket.socket(fileno=os.dup(one.channel)), [b"setup"], [listener.fileno()])
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n")
                client.recv(10)

    found = in_turns(
        rounds,
        {
            "a bare `true`": lambda: subprocess.run(["true"], check=True),
            "under the supervisor": lambda: run(bare),
            "in bubblewrap, no network": lambda: run(sealed),
            "in bubblewrap, with the proxy": lambda: run(open_),
            "start of a proxy, once per attempt in parallel": start_proxy,
        },
    )
    (name, anchor), *others = found.items()
    for other, values in others:
        yield Figure(f"`true` {other}" if other[0] != "s" else other, "ms", values, Samples(name, anchor))


def measure_requests(host: Host, egress: Egress, port: int, rounds: int, download_bytes: int) -> Iterator[Figure]:
    def client(proxy: int) -> list[str]:
        return ["/usr/bin/python3", "-c", CLIENT, str(port), str(proxy), "50", str(download_bytes)]

    requests: tuple[list[float], list[float]] = ([], [])
    rates: tuple[list[float], list[float]] = ([], [])
    inside = launch(host, egress, client(PORT))
    for _ in range(max(rounds // 6, 1)):
        for way, answer in enumerate((subprocess.check_output(client(0)), run(inside))):
            latencies, download = json.loads(answer)
            requests[way].extend(each * 1000 for each in latencies)
            rates[way].append(download_bytes / MEBIBYTE / download)
    direct = "without a sandbox"
    yield Figure(
        "connection, request and answer of one byte, through the proxy", "ms", requests[1], Samples(direct, requests[0])
    )
    yield Figure("download through the proxy", "MiB/s", rates[1], Samples(direct, rates[0]))


def launch(host: Host, egress: Egress | None, command: list[str]) -> Launch:
    below = Path(tempfile.mkdtemp(dir=host.work_dir))
    folders = Folders(*(below / name for name in ("root", "checkout", "home", "attachments")))
    for path in (folders.root, folders.checkout, folders.home, folders.attachments):
        path.mkdir()
    return open_sandbox(host, folders, Limits(), egress).launch(command, {})


def run(launch: Launch) -> bytes:
    with running(launch, lifeline=Lifeline(60), budget=Budget(Limits()), stage="agent") as process:
        lines = [line.data for line in process.lines() if line]
    assert process.status == 0, lines
    return b"\n".join(lines)


def in_turns(rounds: int, ways: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Milliseconds of each variant. The variants alternate, so that other load of the machine affects all of them."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            found[name].append((time.perf_counter() - begun) * 1000)
    return found
