"""A deployment for the demo, with its own settings, ports, log and sandbox."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.cli.errors import CommandError
from app.cli.processes import ROOT, end_with_parent, free_port
from app.cli.procfile_runner import BROKER_GRACE_SECONDS, GRACE_SECONDS
from app.cli.sandbox import find_fault, no_sandbox_warning
from app.cli.view import View
from app.client import Client, ClientError
from app.config import PREFIX

START_SECONDS = 60.0
NO_SANDBOX = "bubblewrap does not work here, so the demo's own script runs without a sandbox."


@dataclass(frozen=True)
class Deployment:
    """A running deployment."""

    url: str
    token_file: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def token(self) -> str:
        return self.token_file.read_text()

    def wait(self) -> None:
        """Wait for Ctrl-C. Raises `CommandError` if the processes end by themselves."""
        try:
            self.process.wait()
        except KeyboardInterrupt:
            return
        raise CommandError(f"the processes ended. The end of {self.log}:\n{_tail(self.log)}")


def choose_sandbox(data: Path, *, is_ours: bool, unsafe: bool, tell: Callable[[str], None]) -> str:
    """`bubblewrap`, or `none` if the user chose it or only our own script runs. Else raises `CommandError`."""
    if unsafe:
        tell(no_sandbox_warning("--unsafe-no-sandbox was given", "Omit it"))
        return "none"
    fault = find_fault(data / "work")
    if fault is None:
        return "bubblewrap"
    if is_ours:
        tell(f"{NO_SANDBOX} {fault}")
        return "none"
    raise CommandError(f"{fault}\nOr add --unsafe-no-sandbox if you trust the prompt and the repository.")


@contextlib.contextmanager
def deployment(data: Path, sandbox: str, port: int, view: View) -> Iterator[Deployment]:
    """Start all processes, wait until the API answers, and stop them at the end."""
    web_port = free_port(port)
    url = f"http://127.0.0.1:{web_port}"
    settings = {
        "data_dir": data,
        # The demo's forge is on this machine.
        "allow_http": True,
        "allow_private_addresses": True,
        "sandbox": sandbox,
        "public_url": url,
        "web_port": web_port,
        # There is one user, who wants to see the demo soon.
        "web_processes": 1,
        "flower_port": free_port(port + 1, taken=web_port),
        "log_format": "text",
        # After Ctrl-C during a session, the user does not want to wait for it.
        "soft_shutdown_seconds": 1,
    }
    # The user's own settings are left out, because they may name a database that the demo must not use.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {PREFIX + name.upper(): str(value) for name, value in settings.items()}
    token_file, log = data / "token", data / "log.txt"
    command = [sys.executable, "-m", "app.cli.main", "up", "--token-file", str(token_file), "--without", "mcp"]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [*end_with_parent(), *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Only we receive Ctrl-C, so that we can stop the processes in order.
            start_new_session=True,
        )
    running = Deployment(url, token_file, log, process)
    try:
        with view.working("starting the processes"):
            _wait_until_ready(running)
        yield running
    finally:
        with view.working("stopping the processes"):
            _stop(process)


def _wait_until_ready(running: Deployment) -> None:
    deadline = time.monotonic() + START_SECONDS
    while running.process.poll() is None and time.monotonic() < deadline:
        if running.token_file.exists():
            # The token is used because another deployment may have taken the port first.
            with Client(running.url, running.token) as client, contextlib.suppress(ClientError):
                client.sites()
                return
        time.sleep(0.1)
    raise CommandError(f"the processes did not start. The end of {running.log}:\n{_tail(running.log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS + BROKER_GRACE_SECONDS)
        except KeyboardInterrupt:
            continue  # Terminated a second time, the processes stop without waiting.


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
