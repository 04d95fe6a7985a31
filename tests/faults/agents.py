"""The processes of agents on this machine, found as the system tells of them and not as the product does."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import sqlalchemy as sa

from tests.deployment import PATIENCE_SECONDS, Deployment, processes_with, wait_for
from tests.processes import children, each_process, forked_for, name_of

# The product promises 20 s, which bench/stops.py measures; here a slow and busy machine also saves the work.
GONE_WITHIN_SECONDS = PATIENCE_SECONDS


@dataclass(frozen=True)
class AtWork:
    """Who runs an agent: a process of the pool, which belongs to the worker of that name in the deployment."""

    agents: list[int]
    pool: psutil.Process
    worker: str
    database_url: str

    @property
    def worker_processes(self) -> list[psutil.Process]:
        """The worker with its whole pool, and without the agents that these run."""
        parent = self.pool.parent()
        assert parent is not None
        return [parent, *parent.children()]

    def freeze(self) -> None:
        """Stop the worker, and on SQLite not within a write, as nobody else could write until it goes on."""
        self._signal(signal.SIGSTOP)
        while _is_locked(self.database_url):
            self.thaw()
            time.sleep(0.5)
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.worker_processes:
            process.send_signal(number)


def _is_locked(database_url: str) -> bool:
    """Whether somebody is writing to a SQLite database for longer than a write takes."""
    url = sa.make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return False
    with contextlib.closing(sqlite3.connect(str(url.database), timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


def at_work(deployment: Deployment, marker: str) -> AtWork:
    """Who runs the agent whose command line contains `marker`, once there is one: who reads what it writes."""

    def found() -> AtWork | None:
        agents = processes_with(marker)
        written = {file for pid in agents for file in _open_files(pid, "1", "2")}
        for name, process in deployment.processes.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children():
                    if written & _open_files(child.pid):
                        return AtWork(agents, child, name, deployment.database_url)
        return None

    at_work: AtWork = wait_for(f"an agent that shows {marker!r}", found)
    return at_work


def _open_files(pid: int, *descriptors: str) -> set[str]:
    """The pipes that a process has open, under the given descriptors or under any."""
    found = set()
    with contextlib.suppress(OSError):
        for each in descriptors or os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{each}"))
    return {each for each in found if each.startswith("pipe:")}


def agents_of(deployment: Deployment) -> dict[int, str]:
    """Every process that an attempt of the deployment started, its supervisor included, with its command.

    What empties the trash of a host is none: it works in the background, for minutes where there is much to delete.
    """
    ours = set(_workers_of(deployment))
    found = {}
    for pid, line in each_process("cmdline"):
        command = os.fsdecode(line).replace("\0", " ").strip()
        if pid in ours or command.endswith("/trash.deleting"):
            continue
        if any(str(deployment.folder) in trace for trace in (command, *_traces(pid))):
            found[pid] = command
    # What a fork server forked has no other trace of the deployment.
    return found | {pid: name_of(pid) for pid in forked_for(ours, "supervisor", "egress-proxy", "model-gateway")}


def assert_no_agent_stays(deployment: Deployment) -> None:
    """Every process that an attempt started is gone in time, or the failure tells which are not, and how they are."""
    try:
        wait_for("the end of every agent", lambda: not agents_of(deployment), GONE_WITHIN_SECONDS)
    except AssertionError as late:
        described = [f"{command} ({_how(pid)})" for pid, command in agents_of(deployment).items()]
        raise AssertionError(f"{late}: {described}") from None


def _how(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        line = " < ".join(f"{each.pid} {each.name()}" for each in [process, *process.parents()])
        age = time.time() - process.create_time()
        return f"{process.status()}, {age:.0f} s old, in {process.cwd()}, {line}"
    return "gone meanwhile"


def zombies_of(deployment: Deployment) -> list[int]:
    """The processes of pools that are zombies."""
    found = []
    for pid in _workers_of(deployment):
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def _workers_of(deployment: Deployment) -> Iterator[int]:
    below = children()
    for process in deployment.processes.values():
        yield process.pid
        yield from below[process.pid]


def _traces(pid: int) -> Iterator[str]:
    """What ties a process to a folder beside its arguments: its working directory, and its standard input.

    The last is a file in the deployment's folder for temporary ones, also where a sandbox hides all the rest.
    """
    for file in ("cwd", "fd/0"):
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/{pid}/{file}")
