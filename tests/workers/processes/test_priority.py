"""What works for agents and repositories has a low priority, also where processors are shared among sessions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.engine import eventually, finish, linux, shell
from workers.processes.priority import lower_priority

pytestmark = [
    linux,
    pytest.mark.skipif(
        not Path("/proc/self/autogroup").exists(),
        reason="NOT TESTED: this kernel does not share processors among sessions (CONFIG_SCHED_AUTOGROUP)",
    ),
]


def expected(by: int) -> tuple[int, int]:
    """The niceness of a process and of its session. These tests may run at a low priority themselves."""
    return min(os.getpriority(os.PRIO_PROCESS, 0) + by, 19), by


def niceness(pid: int) -> tuple[int, int]:
    """Of the process, and of its session."""
    return os.getpriority(os.PRIO_PROCESS, pid), int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])


@pytest.fixture
def session() -> Iterator[int]:
    """The leader of a session that does nothing."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as popen:
        yield popen.pid


def test_an_agents_command_and_its_session_come_after_the_worker() -> None:
    def is_low() -> bool:
        printed = finish(shell("echo $(nice) $(cat /proc/self/autogroup)")).out.split()
        return (int(printed[0]), int(printed[-1])) == expected(10)

    # The kernel takes only some changes of ordinary users, and tests beside this one make some, too.
    eventually(is_low, "the session of a command has the usual priority")


def test_a_session_is_lowered_from_outside_and_never_raised(session: int) -> None:
    def is_lowered() -> bool:
        lower_priority(5, session)
        return niceness(session) == expected(5)

    eventually(is_lowered, "the session has the usual priority")
    os.setpriority(os.PRIO_PROCESS, session, 19)
    lower_priority(5, session)
    assert niceness(session)[0] == 19


def test_a_process_that_has_ended_is_no_error() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    lower_priority(5, ended.pid)
