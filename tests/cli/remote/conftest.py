"""The command line in this process, against the application without a network and a worker that is played."""

from __future__ import annotations

import io
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app import db
from app.cli.main import main
from app.client import Client
from app.services.accounts import accounts
from tests.api.conftest import Worker
from tests.application import application
from tests.workers.repositories import git, make_origin


@pytest.fixture
def transport(record: sa.Engine) -> httpx.WSGITransport:
    return httpx.WSGITransport(application())


@pytest.fixture
def token(record: sa.Engine) -> str:
    with db.transaction():
        return accounts.create("Ada's team", "ada@example.org", "Ada Lovelace")[1]


@pytest.fixture
def client(transport: httpx.WSGITransport, token: str) -> Client:
    return Client("http://testserver", token, transport=transport)


@dataclass
class Result:
    status: int
    stdout: str
    stderr: str


Run = Callable[..., Result]


class _Output(io.TextIOWrapper):
    """Standard output, which is a pipe or a terminal: text and bytes."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def text(self) -> str:
        self.seek(0)
        return self.read()


@pytest.fixture
def run_logged_out(transport: httpx.WSGITransport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in the folder `checkout`, as a user who has not logged in."""
    (tmp_path / "checkout").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*arguments: str, stdin: str = "", is_terminal: bool = False) -> Result:
        out, err = _Output(is_terminal=is_terminal), _Output()
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with redirect_stdout(out), redirect_stderr(err):
            status = main(arguments, transport)
        return Result(status, out.text, err.text)

    return run


@pytest.fixture
def run(run_logged_out: Run, token: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command as Ada."""
    monkeypatch.setenv("AGENT_RUNNERS_URL", "http://testserver")
    monkeypatch.setenv("AGENT_RUNNERS_TOKEN", token)
    return run_logged_out


@pytest.fixture
def checkout(tmp_path: Path, run_logged_out: Run) -> Path:
    """A clone of a repository with one file, whose remote seems to be on GitHub."""
    origin = make_origin(tmp_path / "origin", {"a.txt": "a\n"})
    folder = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], check=True)
    git(folder, "remote", "set-url", "origin", "git@github.com:example/shop.git")
    return folder


@pytest.fixture
def site(client: Client) -> dict[str, Any]:
    return client.create_site("https://github.com/example/shop.git", name="shop", default_branch="main")


@pytest.fixture
def worker(record: sa.Engine) -> Worker:
    return Worker()


@pytest.fixture
def when_started(client: Client, worker: Worker) -> Callable[..., threading.Thread]:
    """Play the worker of the next session that is started: it takes a step and ends as the arguments say."""

    def play(**ending: Any) -> threading.Thread:
        known = {runner["latest_session_id"] for runner in client.runners()}

        def work() -> None:
            while not (new := {runner["latest_session_id"] for runner in client.runners()} - known):
                time.sleep(0.02)
            claim = worker.claim(new.pop())
            worker.step(claim, "Looked around", "in a.txt")
            worker.finish(claim, **ending)
            db.session.remove()

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    return play
