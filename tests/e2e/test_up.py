"""`agent-runners up` with real processes: their order, the time they get to stop, and none left running."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.processes import environment, path_with_refused_bubblewrap, run, wait_for
from tests.ports import free_port
from tests.program import Started
from tests.workers.engine import needs_bubblewrap

# Takes the place of a worker: notes when it starts, whether the broker answers then, and how it ends.
WORKER = """
import pathlib, signal, sys, time
folder, name, seconds = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
broker_is_there = bool(list(folder.glob("run/*/broker.sock")))
def end(*_):
    time.sleep(seconds)
    broker_is_there = bool(list(folder.glob("run/*/broker.sock")))
    (folder / f"{name}.ended").write_text(str(broker_is_there))
    sys.exit()
signal.signal(signal.SIGTERM, end)
(folder / f"{name}.started").write_text(str(broker_is_there))
while True:
    time.sleep(1)
"""


class Up:
    """`up` on a Procfile of a broker and such workers."""

    def __init__(self, folder: Path, *workers: tuple[str, float], more: str = "", **variables: str) -> None:
        self.folder = folder
        (folder / "worker.py").write_text(WORKER)
        lines = [
            f"{name}: {sys.executable} -I -S {folder / 'worker.py'} {folder} {name} {seconds}"
            for name, seconds in workers
        ]
        (folder / "Procfile").write_text("\n".join([*lines, more, "broker: agent-runners broker"]))
        (folder / "log").write_bytes(b"")
        arguments = ["up", "--procfile", str(folder / "Procfile")]
        self.process = Started(arguments, {**environment(folder), **variables}, folder / "log")
        for name, _ in workers:
            wait_for(f"the start of {name}", lambda name=name: (folder / f"{name}.started").exists())
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def interrupt(self) -> None:
        """Press Ctrl-C, and wait until `up` says that it stops.

        It does so within a second of its own time, which may be minutes on a machine that is busy. If it never does, its state
        tells whether the signal came: caught, blocked or pending signals, and how often the process ran.
        """
        self.process.send_signal(signal.SIGINT)
        try:
            wait_for("the first interrupt", lambda: "stopping" in self.log)
        except AssertionError as late:
            state = Path(f"/proc/{self.process.pid}/status")
            ended_with = state.read_text() if state.exists() else f"It ended with {self.process.poll()}."
            raise AssertionError(f"{late}\n{self.log}\n{ended_with}") from None

    def kill(self) -> None:
        for process in self.children:
            if process.is_running():
                process.kill()
        self.process.kill()


@pytest.fixture
def started(folder: Path) -> Iterator[list[Up]]:
    everything: list[Up] = []
    yield everything
    for up in everything:
        up.kill()


def test_the_broker_starts_first_and_stops_last(migrated: Path, started: list[Up]) -> None:
    up = Up(migrated, ("one", 0), ("two", 1))
    started.append(up)
    second = run(migrated, "up")
    assert second.returncode == 1
    assert "the processes are already running with" in second.stderr
    assert (migrated / "one.started").read_text() == "True"
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait() == 0
    assert (migrated / "two.ended").read_text() == "True"
    assert "killed" not in up.log
    assert not any(child.is_running() for child in up.children)


def test_the_first_start_shows_a_token_and_the_next_does_not(folder: Path, started: list[Up]) -> None:
    for has_token in (True, False):
        up = Up(folder, ("one", 0))
        started.append(up)
        up.process.send_signal(signal.SIGTERM)
        up.process.wait()
        assert ("ar_" in up.log) is has_token


@pytest.mark.parametrize(("sandbox", "state"), [("bubblewrap", "missing"), ("none", "off")])
def test_a_missing_sandbox_is_reported_to_the_user_and_in_the_log(
    migrated: Path, started: list[Up], sandbox: str, state: str
) -> None:
    path = {"PATH": path_with_refused_bubblewrap(migrated)} if state == "missing" else {}
    worker = "sessions: agent-runners worker sessions"
    up = Up(migrated, ("one", 0), more=worker, AGENT_RUNNERS_SANDBOX=sandbox, **path)
    started.append(up)
    warning, _ = up.log.split("broker started")
    named = {"missing": "does not work here", "off": "AGENT_RUNNERS_SANDBOX is `none`"}
    assert "WARNING:" in warning and named[state] in warning
    wait_for("the worker's word", lambda: f"sandbox_{state}" in up.log)
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait() == 0


def test_once_the_api_is_ready_a_panel_shows_all_addresses(migrated: Path, started: list[Up]) -> None:
    port = str(free_port())
    up = Up(migrated, ("flower", 0), more="web: agent-runners web", AGENT_RUNNERS_WEB_PORT=port)
    started.append(up)
    wait_for("the box", lambda: "Ctrl-C" in up.log)
    _, box = up.log.split("─ ready ─")
    for text in (f"http://127.0.0.1:{port}/api/v1/docs", "agent-runners token create", "flower.auth"):
        assert text in box, box
    assert "/readyz" not in up.log, "asking whether it is ready is not logged"
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait() == 0
    assert up.log.count("─ ready ─") == 1


@needs_bubblewrap
def test_with_a_working_sandbox_there_is_no_warning_and_a_second_interrupt_does_not_wait(
    migrated: Path, started: list[Up]
) -> None:
    up = Up(migrated, ("slow", 50))
    started.append(up)
    assert "WARNING:" not in up.log
    up.interrupt()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait() == 0
    assert "slow did not stop in time, so it is killed" in up.log
    assert not any(child.is_running() for child in up.children)


def test_a_process_that_dies_is_named_and_ends_everything(migrated: Path, started: list[Up]) -> None:
    up = Up(migrated, ("one", 0), ("two", 0))
    started.append(up)
    next(child for child in up.children if "two" in child.cmdline()).kill()
    assert up.process.wait() == 1
    assert "stopping, because two ended" in up.log and up.log.splitlines()[-1].startswith("agent-runners up: stopped")
    assert not any(child.is_running() for child in up.children)


@pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="NOT TESTED: no setpriv; install it with `apt-get install util-linux`"
)
def test_no_process_survives_a_killed_supervisor(migrated: Path, started: list[Up]) -> None:
    up = Up(migrated, ("one", 0))
    started.append(up)
    up.process.kill()
    wait_for("the end of all", lambda: not any(child.is_running() for child in up.children))
