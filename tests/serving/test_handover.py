"""How requests get from one process to another, and which process becomes what."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator

import pytest

from app.serving.handover import MISSING_SECONDS, Handover, receivers_among, with_receivers
from app.serving.intake import IN_MEMORY_BYTES, Request
from app.serving.priority import PriorityWorker

CLIENT, SERVER = ("192.0.2.1", 40000), ("192.0.2.2", 8750)


@pytest.fixture
def handover() -> Iterator[Handover]:
    made = Handover()
    yield made
    made.close()


def request(content: bytes) -> Request:
    made = Request()
    made.write(content)
    return made


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY_BYTES, IN_MEMORY_BYTES + 1, 1024**2])
def test_a_request_arrives_with_its_connection(handover: Handover, size: int) -> None:
    content = os.urandom(size)
    client, server = socket.socketpair()
    with client:
        with server:
            sent = request(content)
            assert handover.send(server, CLIENT, SERVER, sent)
            # What is not passed on after all goes on as before.
            sent.write(b"rest")
            sent.rewind()
            assert sent.recv(size + 100) == content + b"rest"
            sent.close()
        passed = handover.receive()
        assert passed is not None
        with passed.sock:
            passed.sock.sendall(b"answer")
            assert client.recv(100) == b"answer"
        assert (passed.client, passed.server) == (CLIENT, SERVER)
        # A file is shared, so its rest is there.
        assert b"".join(passed.chunks())[:size] == content
    assert handover.receive() is None


def test_what_there_is_no_room_for_stays_where_it_is(handover: Handover) -> None:
    client, server = socket.socketpair()
    with client, server:
        count, sent = 0, request(b"x")
        while handover.send(server, "", "", sent):
            count += 1
            sent.close()
            sent = request(b"x" * count)
        for number in range(count):
            passed = handover.receive()
            assert passed is not None
            assert list(passed.chunks()) == [b"x" * max(number, 1)]
            passed.sock.close()
        assert handover.send(server, "", "", sent)
        sent.close()


def become(handover: Handover, receivers: int) -> tuple[int, bool]:
    """A process that takes a role and keeps it; its id, and whether it is a receiver."""
    ours, theirs = socket.socketpair()
    if not (pid := os.fork()):
        ours.close()
        theirs.sendall(b"r" if handover.take_role(receivers) else b"s")
        signal.pause()
    theirs.close()
    with ours:
        return pid, ours.recv(1) == b"r"


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.parametrize(("wanted", "receivers"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (8, 4)])
def test_half_as_many_are_receivers_and_at_least_one(handover: Handover, wanted: int, receivers: int) -> None:
    processes = with_receivers(wanted)
    assert receivers_among(processes) == receivers
    roles: dict[int, bool] = {}
    try:
        for _ in range(processes):
            pid, is_receiver = become(handover, receivers)
            roles[pid] = is_receiver
        assert sum(roles.values()) == receivers
        for is_receiver in (True, False):
            lost = next(pid for pid, role in roles.items() if role is is_receiver)
            end(lost)
            del roles[lost]
            pid, role = become(handover, receivers)
            roles[pid] = role
            assert role is is_receiver, "one takes the place of another"
    finally:
        for pid in roles:
            end(pid)


def test_the_only_process_is_a_sender(handover: Handover) -> None:
    pid, is_receiver = become(handover, 1)
    assert not is_receiver
    assert not handover.is_without_sender()
    end(pid)
    assert handover.is_without_sender()


def test_a_receiver_is_there_if_it_was_heard_of_lately() -> None:
    now = 100.0
    handover = Handover(lambda: now)
    assert not handover.has_receiver()
    handover.note_receiver()
    now += MISSING_SECONDS - 0.1
    assert handover.has_receiver()
    now += 0.2
    assert not handover.has_receiver()
    handover.close()


def test_nothing_is_lost_while_a_receiver_may_open_no_more_files(handover: Handover) -> None:
    client, server = socket.socketpair()
    with client, server:
        sent = request(os.urandom(IN_MEMORY_BYTES + 1))
        assert handover.send(server, CLIENT, SERVER, sent)
        sent.close()
        if not (pid := os.fork()):
            os._exit(0 if receives_once_it_may(handover) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def receives_once_it_may(handover: Handover) -> bool:
    """Whether a request is there as soon as there is room for its files, and no earlier."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Room for one file more, and a request has two.
    highest = max(int(each) for each in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    os.close(taken.pop())
    for _ in range(3):
        try:
            handover.receive()
        except OSError:
            continue
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return handover.receive() is not None


def test_those_that_are_forked_after_a_reload_do_not_keep_what_waits_for_others() -> None:
    """Otherwise a client would wait for as long as they run."""
    PriorityWorker.setup()
    before = PriorityWorker._handover
    assert before is not None
    client, server = socket.socketpair()
    with client:
        with server:
            sent = request(b"x")
            assert before.send(server, CLIENT, SERVER, sent)
            sent.close()
        PriorityWorker.setup()
        client.settimeout(60)
        assert client.recv(1) == b"", "the connection is closed with the last process that has it"
