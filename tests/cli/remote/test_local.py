"""A deployment of one's own that cannot be started. tests/newcomer has one that can."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.remote.conftest import Run
from tests.listening import Listener

NO_PROCESS = 999_999_999
"""More than a process id can be."""
pytestmark = pytest.mark.same_on_both_databases


def test_what_keeps_a_local_deployment_from_starting_is_shown(
    run_logged_out: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_RUNNERS_DATABASE_URL", "postgresql://ada:correct-horse@127.0.0.1:1/x?connect_timeout=2")
    done = run_logged_out("run", "--local", "Make it b")
    assert done.status == 1 and "did not start" in done.stderr and "the database failed" in done.stderr
    assert "correct-horse" not in done.stderr


def test_another_user_who_has_taken_the_port_is_not_sent_the_token(
    run_logged_out: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "local"
    folder.mkdir(mode=0o700)
    (folder / "token").write_text("ar_secret")
    (folder / "up.lock").write_text(f"{NO_PROCESS}\n")
    asked: list[bytes] = []

    def take(connection: socket.socket) -> None:
        with connection:
            asked.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with Listener(take) as squatter:
        monkeypatch.setenv("AGENT_RUNNERS_DATA_DIR", str(folder))
        monkeypatch.setenv("AGENT_RUNNERS_WEB_PORT", str(squatter.port))
        done = run_logged_out("run", "--local", "Make it b")
    assert done.status == 1 and f"port {squatter.port}" in done.stderr and "is in use" in done.stderr
    assert asked == []
