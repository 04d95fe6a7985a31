"""Nothing outlives the right to run it: not what ignores signals, nor what leaves, nor where the worker is gone."""

from __future__ import annotations

import dataclasses
import os
import signal
import uuid
from pathlib import Path

import psutil
import pytest

from tests.processes import each_process, forked_for
from tests.workers.engine import (
    SANDBOXES,
    Stubborn,
    another_worker,
    eventually,
    finish,
    linux,
    sandbox_in,
    shell,
)
from workers.errors import Interrupted
from workers.job import Limits
from workers.limits.budget import Budget
from workers.limits.command import running
from workers.processes import descendants
from workers.processes.launch import prepare
from workers.processes.lifeline import Lifeline, boot_time

pytestmark = linux


@pytest.fixture
def tree() -> Stubborn:
    return Stubborn()


def our_supervisor() -> psutil.Process:
    """The one supervisor of this process."""
    (own,) = forked_for([os.getpid()], "supervisor")
    return psutil.Process(own)


def test_the_exit_status_is_passed_on() -> None:
    assert finish(shell("exit 3")).status == 3
    assert finish(shell("kill -9 $$")).status == 128 + signal.SIGKILL
    assert finish(shell("true")).status == 0


def test_a_program_that_does_not_exist_is_reported() -> None:
    ran = finish(shell("").__class__(["/no/such/program"], {}, "/"))
    assert (ran.status, "/no/such/program" in ran.err) == (127, True)


def test_a_supervisor_that_is_not_needed_ends_with_its_command() -> None:
    prepared = prepare()
    eventually(lambda: forked_for([os.getpid()], "supervisor") == [prepared.pid], "it did not start")
    supervisor = psutil.Process(prepared.pid)
    eventually(lambda: len(supervisor.children()) == 1, "the process of the command did not start")
    (command,) = supervisor.children()
    prepared.connection.close()
    eventually(lambda: not supervisor.is_running() and not command.is_running(), "it waits for a command")


def test_a_control_group_that_cannot_be_joined_is_reported() -> None:
    ran = finish(shell("true"), groups=["/no/such/group/cgroup.procs"])
    assert (ran.status, "/no/such/group/cgroup.procs" in ran.err) == (127, True)


def test_signals_are_as_a_program_expects_them() -> None:
    ignored = finish(shell("grep SigIgn /proc/self/status")).out.split()[1]
    # Only the standard signals: those above belong to the C library.
    assert int(ignored, 16) & 0x7FFF_FFFF == 0


@pytest.mark.parametrize("kind", SANDBOXES)
def test_what_a_command_leaves_behind_dies_with_it(tmp_path: Path, tree: Stubborn, kind: str) -> None:
    ran = finish(sandbox_in(tmp_path, kind).launch(["sh", "-c", tree.script + "exit 4"], {}))
    assert ran.status == 4
    assert tree.alive() == 0


@pytest.mark.parametrize("kind", SANDBOXES)
def test_leaving_the_context_kills_the_whole_tree(tmp_path: Path, tree: Stubborn, kind: str) -> None:
    launch = sandbox_in(tmp_path, kind).launch(["sh", "-c", tree.script + "sleep 300"], {})
    with (
        pytest.raises(SystemExit),
        running(launch, lifeline=Lifeline(600), budget=Budget(Limits()), stage="agent"),
    ):
        tree.rises()
        raise SystemExit
    assert tree.alive() == 0


@pytest.mark.parametrize("kind", SANDBOXES)
def test_the_tree_dies_with_a_worker_that_is_killed(tmp_path: Path, tree: Stubborn, kind: str) -> None:
    with another_worker(tmp_path, kind, tree.script + "sleep 300", lease=60) as worker:
        tree.rises()
        worker.kill()
        tree.falls()


@pytest.mark.parametrize("kind", SANDBOXES)
def test_the_tree_dies_at_its_deadline_while_the_worker_is_frozen(tmp_path: Path, tree: Stubborn, kind: str) -> None:
    with another_worker(tmp_path, kind, tree.script + "sleep 300", lease=8) as worker:
        tree.rises()
        worker.send_signal(signal.SIGSTOP)
        tree.falls()
        assert worker.status() == psutil.STATUS_STOPPED


def test_signals_for_the_worker_do_not_reach_the_supervisor(tree: Stubborn) -> None:
    with running(
        shell(tree.script + "sleep 300"), lifeline=Lifeline(600), budget=Budget(Limits()), stage="agent"
    ) as process:
        tree.rises()
        own = our_supervisor()
        assert os.getsid(own.pid) == own.pid != os.getsid(0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            own.send_signal(number)
        assert next(line.text for line in process.lines() if line) == "ready"
        assert own.is_running()
    tree.falls()


def test_a_supervisor_that_the_command_kills_takes_the_command_with_it() -> None:
    """Only a command without a sandbox can do that, and what it started itself is then out of reach."""
    ran = finish(shell("kill -9 $PPID; read forever < /dev/zero; echo survived"))
    assert (ran.status, ran.out) == (128 + signal.SIGKILL, "")


def test_a_supervisor_that_the_command_stops_is_killed_with_the_tree(
    tree: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.processes.launch._REAP_SECONDS", 0.5)
    with running(
        shell("kill -STOP $PPID;" + tree.script + "sleep 300"),
        lifeline=Lifeline(600),
        budget=Budget(Limits()),
        stage="agent",
    ):
        tree.rises()
    tree.falls()


def test_cutting_the_lifeline_kills_and_interrupts(tree: Stubborn) -> None:
    lifeline = Lifeline(600)
    with (
        pytest.raises(Interrupted),
        running(shell(tree.script + "sleep 300"), lifeline=lifeline, budget=Budget(Limits()), stage="agent") as process,
    ):
        for line in process.lines():
            if line and line.text == "ready":
                lifeline.cut()
    assert tree.alive() == 0


def test_an_extended_lifeline_lets_live() -> None:
    lifeline = Lifeline(5)
    lifeline.extend_to(boot_time() + 600)
    with running(shell("sleep 6"), lifeline=lifeline, budget=Budget(Limits()), stage="agent") as process:
        lifeline.extend_to(boot_time() + 601)
        assert [line for line in process.lines() if line] == []
        assert process.status == 0


def test_orphans_are_reaped_while_the_command_goes_on() -> None:
    many = "for n in 1 2 3 4 5; do (sh -c 'exit 0 &'); done"
    ran = finish(shell(f"{many}; while ps -eo stat,ppid | grep -q ^Z.*$PPID; do sleep 0.1; done; echo none"))
    assert ran.out == "none"


def test_a_fork_bomb_is_put_out() -> None:
    """Every process makes a new one and ends, so that none of them is ever there for long."""
    script = "f() { (f &) & }; n=0; while [ $n -lt 5 ]; do (sh -c 'while :; do (true &); done' &); n=$((n+1)); done; echo ready; sleep 300"
    mark = str(uuid.uuid4())
    launch = shell(script)
    launch = dataclasses.replace(launch, environment={**launch.environment, "MARK": mark})
    with running(launch, lifeline=Lifeline(600), budget=Budget(Limits()), stage="agent") as process:
        next(line for line in process.lines() if line)
    eventually(lambda: not any(mark.encode() in held for _, held in each_process("environ")), "the bomb goes on")


@pytest.mark.parametrize("kernel_lists_children", [True, False])
def test_descendants_are_found_by_the_kernels_lists_and_without_them(
    tree: Stubborn, monkeypatch: pytest.MonkeyPatch, kernel_lists_children: bool
) -> None:
    monkeypatch.setattr(descendants, "_KERNEL_LISTS_CHILDREN", kernel_lists_children)
    lifeline = Lifeline(600)
    with running(shell(tree.script + "sleep 300"), lifeline=lifeline, budget=Budget(Limits()), stage="agent"):
        tree.rises()
        own = our_supervisor()

        def are_found() -> bool:
            found = descendants.descendants(own.pid)
            is_below = all(int(fields[1]) in {own.pid, *found} for fields in found.values())
            return is_below and set(found) == {child.pid for child in own.children(recursive=True)}

        # Some of the shells that made the tree may be about to end.
        eventually(are_found, "they are not the same")


def test_the_supervisor_says_nothing_about_its_command(tmp_path: Path) -> None:
    """Neither its arguments nor its environment, which others on the machine may read."""
    secret = "s3cret-in-the-environment"
    launch = shell("echo ready; sleep 300")
    launch = type(launch)(launch.command, {**launch.environment, "KEY": secret}, "/")
    with running(launch, lifeline=Lifeline(600), budget=Budget(Limits()), stage="agent") as process:
        next(line for line in process.lines() if line)
        assert not any(secret.encode() in arguments for _, arguments in each_process("cmdline"))
        own = our_supervisor()
        assert set(own.environ()) <= {"LD_LIBRARY_PATH", "LC_CTYPE"}
