"""The fork server: who can use it, what it passes on, and what happens when it fails."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.workers.engine import SANDBOXES, another_worker, eventually, finish, linux, sandbox_in, shell
from workers.job import Limits
from workers.limits.budget import Budget
from workers.limits.command import Process, running
from workers.processes import forking
from workers.processes.forking import _Server, fork, fork_ahead, start_fork_server
from workers.processes.lifeline import Lifeline
from workers.processes.messages import LARGE

pytestmark = [
    linux,
    # A server that does not answer is left to those that share it.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[psutil.Process]:
    """A fork server of the test's own, so that the test may kill it."""
    forking._server.close()
    server = _Server()
    monkeypatch.setattr(forking, "_server", server)
    start_fork_server()
    eventually(lambda: len(servers()) == 1, "it did not start")
    yield servers()[0]
    for each in servers():
        each.kill()
    server.close()


def agent(script: str) -> contextlib.AbstractContextManager[Process]:
    return running(shell(script), lifeline=Lifeline(600), budget=Budget(Limits()), stage="agent")


def servers(name: str = "fork-server", below: psutil.Process | None = None) -> list[psutil.Process]:
    found = []
    for child in (below or psutil.Process()).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == name and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


def test_a_process_that_was_forked_ahead_is_used_first_and_not_missed(server: psutil.Process) -> None:
    fork_ahead(2)
    eventually(lambda: len(server.children()) == 2, "they were not forked")
    ahead = {child.pid for child in server.children()}
    with agent("echo") as process:
        list(process.lines())
    first, second = fork(), fork()
    assert first.pid in ahead
    assert second.pid not in ahead
    # Of a server that is killed before it has forked them they are not missed.
    server.suspend()
    fork_ahead(2)
    server.kill()
    eventually(lambda: not server.is_running() or not servers(), "it survived")
    assert finish(shell("exit 3")).status == 3


def test_a_forked_process_has_only_its_own_descriptors_and_a_program_of_the_workers_none(
    server: psutil.Process,
) -> None:
    with agent("echo ready; sleep 300") as one, agent("echo ready; sleep 300") as two:
        for each in one, two:
            next(line for line in each.lines() if line)
        opened = [sockets_and_pipes(each.pid) for each in (server, *server.children())]
    assert len(opened) == 3
    assert not opened[0] & opened[1] and not opened[0] & opened[2] and not opened[1] & opened[2]
    assert not os.get_inheritable(forking._server.start().fileno())
    listed = subprocess.run(["ls", "/proc/self/fd"], capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["0", "1", "2", "3"]


def sockets_and_pipes(pid: int) -> set[str]:
    opened = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            opened.add(os.readlink(each))
    return {each for each in opened if ":[" in each}


def share_nothing(*pids: int) -> bool:
    """Whether no two of the processes have the same socket or pipe open. A server closes its copy of a connection only once it
    has forked the process that it is for."""
    opened = [sockets_and_pipes(pid) for pid in pids]
    return all(one.isdisjoint(other) for one, other in itertools.combinations(opened, 2))


def test_large_roles_are_loaded_by_a_second_server_when_one_is_first_needed(server: psutil.Process) -> None:
    """What only the gateway imports is neither in the first server nor in the other processes, which are copies of it."""
    ordinary = fork()
    with agent("echo ready; sleep 300") as process:
        next(line for line in process.lines() if line)
        assert not servers("fork-server-2", below=server)
        large, later = fork(LARGE), fork(LARGE)
        (second,) = servers("fork-server-2", below=server)
        assert {large.pid, later.pid} <= {each.pid for each in second.children()}
        assert [loads_tls(pid) for pid in (server.pid, ordinary.pid, second.pid, large.pid)] == [
            False,
            False,
            True,
            True,
        ]
        another = fork()
        pids = (server.pid, second.pid, another.pid, large.pid, later.pid)
        eventually(lambda: share_nothing(*pids), "a copy stays open")
    # Another one is started if it was killed, and what it has forked goes on.
    second.kill()
    eventually(lambda: not second.is_running(), "it survived")
    assert fork(LARGE).pid not in (large.pid, later.pid)
    assert not large.has_ended()
    (third,) = servers("fork-server-2", below=server)
    server.kill()
    eventually(lambda: not third.is_running(), "it outlived the first server")


def loads_tls(pid: int) -> bool:
    return "libssl" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("kind", SANDBOXES)
def test_a_command_inherits_only_its_streams(tmp_path: Path, kind: str) -> None:
    """Neither the connection of its supervisor, nor the socket of the fork server."""
    with open(tmp_path / "held", "wb") as held:
        launch = sandbox_in(tmp_path / "work", kind).launch(["sh", "-c", "ls /proc/self/fd"], {})
        ran = finish(replace(launch, locks=(held.fileno(),)))
    # The last one is the folder that is listed.
    assert ran.out.split() == ["0", "1", "2", "3"]


def test_a_large_request_arrives_whole() -> None:
    value = "x" * 100_000
    launch = shell('test "$(cat /proc/self/environ | wc -c)" -gt 1500000')
    environment = {**launch.environment, **{f"LARGE_{number}": value for number in range(16)}}
    ran = finish(replace(launch, environment=environment))
    assert ran.status == 0, ran.err


def test_garbage_ends_only_the_process_that_got_it(server: psutil.Process) -> None:
    for garbage in (
        b"",
        b"x",
        struct.pack("!Q", 5) + b"no js",
        struct.pack("!Q", 2) + b"{}",
        struct.pack("!Q", 1 << 62),
        struct.pack("!Q", 20) + b'{"role": "no such"}  ',
        struct.pack("!Q", 22) + b'{"role": "supervisor"}',
        b"\xff" * 1000,
    ):
        forked = fork()
        with forked.connection:
            forked.connection.sendall(garbage)
            forked.connection.shutdown(socket.SHUT_WR)
            assert forked.receive(20) == b"", garbage
        assert finish(shell("exit 3")).status == 3, garbage
        assert servers() == [server], garbage
    # On its own socket it is ignored.
    requests = forking._server.start()
    requests.sendall(b"garbage")
    with open(os.devnull, "rb") as null:
        socket.send_fds(requests, [b"xyz"], [null.fileno()] * 5)
    assert finish(shell("exit 3")).status == 3
    assert servers() == [server]


def test_a_server_that_was_killed_is_started_again_with_nothing_of_the_workers_and_what_it_forked_goes_on(
    server: psutil.Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"echo begun; until test -e {tmp_path}/goes-on; do sleep 0.05; done; exit 5"
    with agent(script) as process:
        next(line for line in process.lines() if line)
        monkeypatch.setenv("DATABASE_PASSWORD", "canary-of-the-worker")
        server.kill()
        assert finish(shell("exit 3")).status == 3
        (tmp_path / "goes-on").touch()
        assert [line for line in process.lines() if line] == []
    assert process.status == 5
    (new,) = servers()
    assert new.pid != server.pid
    assert set(new.environ()) <= {"LD_LIBRARY_PATH", "LC_CTYPE"}
    assert new.cwd() == "/"
    opened = [os.readlink(each) for each in Path(f"/proc/{new.pid}/fd").iterdir()]
    assert sorted(each.split(":")[0] for each in opened) == ["/dev/null"] * 3 + ["socket"]


def test_a_server_that_does_not_answer_is_replaced(server: psutil.Process, monkeypatch: pytest.MonkeyPatch) -> None:
    server.suspend()
    with monkeypatch.context() as patched, contextlib.suppress(OSError):
        patched.setattr(forking, "_FORK_SECONDS", 0.1)
        fork().connection.close()
    assert finish(shell("exit 3")).status == 3


def test_several_processes_of_a_worker_share_it_until_the_last_of_them_ends(server: psutil.Process) -> None:
    """Each gets the answers to its own requests."""
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            statuses = []
            with contextlib.suppress(BaseException):
                statuses = [finish(shell(f"exit {10 * number + each}")).status for each in range(3)]
            os._exit(0 if statuses == [10 * number + each for each in range(3)] else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert servers() == [server]
    goes_on, end = os.pipe()
    last = os.fork()
    if last == 0:
        os.close(end)
        os.read(goes_on, 1)
        os._exit(0)
    forking._server.close()
    time.sleep(0.2)
    assert servers() == [server]
    os.close(end)
    os.waitpid(last, 0)
    eventually(lambda: servers() == [], "it outlived its worker")


def test_it_ends_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    with another_worker(tmp_path, "none", "touch started; sleep 300", lease=60) as worker:
        eventually(lambda: (tmp_path / "checkout" / "started").exists(), "it never ran")
        below = worker.children(recursive=True)
        assert {"fork-server", "supervisor"} <= {each.name() for each in below}
        worker.kill()
        eventually(lambda: not any(each.is_running() for each in below), "something outlived the worker")
