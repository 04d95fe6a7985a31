"""An account that does its worst: `python -m bench.hostile_account URL TOKEN REPOSITORY`, until it is killed.

Everything at once, and again as soon as it ends: a repository without an end, a diff that becomes gigabytes, a push to a
server that drips, half requests, long lists, uploads, and changes of a site.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import socket
import sys
import threading
import time
import zlib
from base64 import b85encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

from workers.processes.priority import lower_priority

HEADS = 150
_LOWEST_PRIORITY = 19
MEGABYTE = 1024**2
_LONG_PROMPT = "true #" + "x" * MEGABYTE


class Server(http.server.BaseHTTPRequestHandler):
    """Its list of branches has no end, and a push gets a byte a second."""

    def do_GET(self) -> None:
        self.send_response(200)
        service = "git-receive-pack" if "receive" in self.path else "git-upload-pack"
        self.send_header("Content-Type", f"application/x-{service}-advertisement")
        self.end_headers()
        line = f"{'1' * 40} refs/heads/{'x' * 900}\n".encode()
        lines = (b"%04x" % (len(line) + 4) + line) * 1000
        with contextlib.suppress(OSError):
            for number in itertools.count():
                self.wfile.write(lines if service == "git-upload-pack" and number else b"0")
                if service == "git-receive-pack":
                    time.sleep(1)

    def log_message(self, *_: object) -> None:
        pass


def bomb(size: int = 2048 * MEGABYTE) -> str:
    """A diff of some megabytes with a binary file of `size` bytes."""
    packer, packed = zlib.compressobj(9), bytearray()
    zeros = bytes(16 * MEGABYTE)
    for _ in range(size // len(zeros)):
        packed += packer.compress(zeros)
    packed += packer.flush()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    lines = (bytes(packed[at : at + 52]) for at in range(0, len(packed), 52))
    body = "".join(f"{letters[len(line) - 1]}{b85encode(line, pad=True).decode()}\n" for line in lines)
    head = f"diff --git a/new b/new\nnew file mode 100644\nindex {'0' * 40}..{'1' * 40}\nGIT binary patch\nliteral {size}\n"
    return f"{head}{body}\nliteral 0\nHcmV?d00001\n\n"


class Account:
    def __init__(self, url: str, token: str, repository: str) -> None:
        self._url, self._repository = url, repository
        self._api = httpx.Client(
            base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60, limits=httpx.Limits()
        )
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._server = f"http://127.0.0.1:{server.server_port}"

    def attack(self) -> None:
        """Everything, until the process is killed."""
        done = [self._done() for _ in range(2)]
        self._bomb = bomb()
        attacks: list[Callable[[], object]] = [
            self.endless_branches,
            self.lists,
            self.lists,
            self.uploads,
            self.uploads,
        ]
        attacks += [lambda runner=runner: self.dripping_push(runner) for runner in done]
        attacks += [lambda: self.huge_diff(done[0]), lambda: self.changed_site(done[0]), self.half_requests]
        for each in attacks:
            threading.Thread(target=self._again, args=[each], daemon=True).start()
        print("attacking", flush=True)
        threading.Event().wait()

    def _again(self, attack: Callable[[], object]) -> None:
        while True:
            # What is refused is tried again.
            with contextlib.suppress(httpx.HTTPError, OSError, KeyError):
                attack()
            time.sleep(0.05)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._api.post(path, json=body).json()
        return found

    def _site(self, repo_url: str) -> str:
        fields = {"name": "hostile", "default_branch": "main", "forge": "none", "default_agent": "shell"}
        return str(self._post("/sites", {**fields, "repo_url": repo_url})["id"])

    def _done(self) -> dict[str, Any]:
        """A runner with a diff, on a site whose repository is the hostile server by then."""
        runner = self._post("/agent_runners", {"site_id": self._site(self._repository), "prompt": "echo x > x"})
        while self._api.get(f"/agent_runners/{runner['id']}").json()["state"] != "DONE":
            time.sleep(0.1)
        self._api.patch(f"/sites/{runner['site_id']}", json={"repo_url": f"{self._server}/{runner['id']}.git"})
        return runner

    def endless_branches(self) -> None:
        site = self._site(f"{self._server}/endless.git")
        for _ in range(50):
            self._post("/agent_runners", {"site_id": site, "prompt": _LONG_PROMPT})
            time.sleep(0.2)

    def huge_diff(self, runner: dict[str, Any]) -> None:
        path = f"/agent_runners/{runner['id']}"
        self._api.patch(path, json={"result_diff": self._bomb})
        self._post(f"{path}/sessions", {"prompt": "true"})

    def dripping_push(self, runner: dict[str, Any]) -> None:
        self._post(f"/agent_runners/{runner['id']}/commit", {"target_branch": "x"})

    def changed_site(self, runner: dict[str, Any]) -> None:
        # Each change asks all hosts to fetch ahead.
        self._api.patch(f"/sites/{runner['site_id']}", json={"name": f"hostile {time.monotonic()}"})

    def lists(self) -> None:
        self._api.get("/agent_runners?per_page=100")
        for runner in self._api.get("/agent_runners?per_page=20").json():
            self._api.get(f"/agent_runners/{runner['id']}/sessions?per_page=100")

    def uploads(self) -> None:
        upload = self._post("/agent_runners/upload_url", {"filename": "x", "content_type": "text/plain"})
        httpx.put(upload["upload_url"], content=bytes(10 * MEGABYTE), headers=upload["headers"])

    def half_requests(self) -> None:
        address = (urlsplit(self._url).hostname, urlsplit(self._url).port)
        with contextlib.ExitStack() as stack:
            for number in range(HEADS):
                client = stack.enter_context(socket.create_connection(address, timeout=5))
                body = b"POST /api/v1/agent_runners HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
                client.sendall(body if number % 2 else b"GET / HTTP/1.1\r\nX: ")
            time.sleep(5)


if __name__ == "__main__":
    # Its clients would run on other machines, so what they need themselves is not to count.
    lower_priority(_LOWEST_PRIORITY)
    Account(*sys.argv[1:]).attack()
