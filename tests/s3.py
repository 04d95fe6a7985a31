"""A real S3 server for tests: OpenStack Swift with its s3api, which checks every signature that it is shown.

Other stand-ins take a request with a wrong signature, type or length, so they would prove nothing about signed URLs.
"""

from __future__ import annotations

import contextlib
import getpass
import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.listening import Listener
from tests.ports import free_port

SERVERS = str(Path(__file__).with_name("swift_servers.py"))
ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
BUCKET = "agent-runners"

_STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/srv
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# Else it takes a server for dead for a minute that was asked ten times while it was starting.
error_suppression_limit = 1000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
"""

_SWIFT = "[swift-hash]\nswift_hash_path_suffix = tests\n[storage-policy:0]\nname = one\ndefault = yes\n"


class S3Server:
    """A server with an empty bucket, whose files lie in `folder`. It can be killed or frozen, and started again."""

    def __init__(self, folder: Path) -> None:
        (folder / "srv" / "d1").mkdir(parents=True)
        (folder / "swift.conf").write_text(_SWIFT)
        self.folder = folder
        self._ports = dict(zip(("object", "container", "account", "proxy"), itertools.count(free_port()), strict=False))
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._ports['proxy']}"
        for name, port in self._ports.items():
            template = _PROXY if name == "proxy" else _STORAGE
            settings = {"name": name, "port": port, "user": getpass.getuser(), "folder": folder}
            (folder / f"{name}-server.conf").write_text(template.format(**settings))

    @property
    def settings(self) -> dict[str, str]:
        """The product's settings for it, without their prefix."""
        return {
            "S3_BUCKET": BUCKET,
            "S3_ENDPOINT_URL": self.url,
            "S3_REGION": "us-east-1",
            "S3_PATH_STYLE": "true",
        }

    @property
    def credentials(self) -> dict[str, str]:
        """The variables in which boto3 looks for credentials."""
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    def start(self) -> None:
        """Start it, or start it again with what it held, and wait until it answers."""
        ports = [f"{name}={port}" for name, port in self._ports.items()]
        with open(self.folder / "servers.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, SERVERS, str(self.folder), *ports],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONWARNINGS": ""},
            )
        _wait_for(self, self.folder)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """Let it take connections and answer none."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """To the process and the servers that it forked, which leave its process group."""
        if self._process is not None and self._process.poll() is None:
            process = psutil.Process(self._process.pid)
            for each in (*process.children(), process):
                each.send_signal(number)


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run a server with an empty bucket; its files lie in `folder`."""
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class Breaking:
    """A port that leads to a server. It breaks off what is longer than `after` bytes, the next `times`."""

    def __init__(self, server: S3Server, after: int) -> None:
        self._target = ("127.0.0.1", server._ports["proxy"])
        self._after = after
        self.times = 0.0
        self._listener = Listener(self._connect)
        self.url = f"http://127.0.0.1:{self._listener.port}"

    def close(self) -> None:
        self._listener.close()

    def _connect(self, near: socket.socket) -> None:
        """Carry requests there and answers back, and no longer answer than is allowed."""
        answered = 0
        with near, socket.create_connection(self._target) as far, contextlib.suppress(OSError):
            while True:
                for source in select.select([near, far], [], [])[0]:
                    data = source.recv(16_384)
                    answered = answered + len(data) if source is far else 0
                    if self.times > 0 and answered > self._after:
                        self.times -= 1
                        return
                    if not data:
                        return
                    (near if source is far else far).sendall(data)


@contextlib.contextmanager
def breaking(server: S3Server, after: int) -> Iterator[Breaking]:
    """Stand before a server whose answers break off."""
    made = Breaking(server, after)
    try:
        yield made
    finally:
        made.close()


def _wait_for(server: S3Server, folder: Path) -> None:
    # Only processes that start a server need it.
    import boto3

    deadline = time.monotonic() + 300
    while True:
        try:
            urllib.request.urlopen(f"{server.url}/healthcheck", timeout=30).close()
            client = boto3.client(
                "s3",
                endpoint_url=server.url,
                region_name="us-east-1",
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=SECRET_KEY,
            )
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=BUCKET)
            return
        except Exception as error:
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
                raise AssertionError(f"the S3 server did not start: {error}\n{logs}") from error
            time.sleep(0.1)
