"""Stops pools in different situations, each in a process of its own. Their tasks write what they say into folders.

python -m tests.tasks.stopped_pools FOLDER
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from billiard.context import ForkContext, ForkProcess
from kombu.asynchronous import Hub

from tasks.extensions.session_pool import OneTaskPool, SessionPool

FOR_EVER = 3600.0
SECONDS = 100
"""After so many, a stop that does not end is ended."""


def write_down(task_ids: list[str]) -> None:
    """What the pool does for tasks whose process is lost."""
    Path(f"requeued {task_ids[0]}").touch()


class Pool(OneTaskPool):
    requeue = staticmethod(write_down)
    close_seconds = 600.0
    interrupt_seconds = 600.0


class ScarceProcess(ForkProcess):
    """One that cannot be started while there is a file: as on a machine that has no more processes."""

    @staticmethod
    def _Popen(process: Any) -> Any:
        if Path("scarce").exists():
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return ForkProcess._Popen(process)


class Machine(ForkContext):
    Process = ScarceProcess


class StoppedPool(SessionPool):
    """Its processes prepare nothing: there is no worker."""

    def on_start(self) -> None:
        self.hub = Hub()
        self._pool = Pool(1, threads=False, maxtasksperchild=1, context=Machine())
        self.maintain_pool, self.on_apply = self._pool.maintain_pool, self._pool.apply_async
        self.flush = self._pool.flush
        self.register_with_event_loop(self.hub)

    @property
    def jobs(self) -> list[Any]:
        return [*self._pool._cache.values()]

    def begin(self, task: Callable[[], None]) -> None:
        """Send a task to a process, and leave the loop before its confirmation is read."""
        self.apply_async(task, correlation_id="task")
        self.loop_until(lambda: all(job._write_to for job in self.jobs))
        assert not any(job._accepted for job in self.jobs)

    def loop_until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            self.hub.run_once()


def work(seconds: float = FOR_EVER) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    Path("begun").touch()
    try:
        time.sleep(seconds)
        Path("finished").touch()
    except SystemExit:
        Path("interrupted").touch()


def work_for_a_moment() -> None:
    work(0.5)


def work_without_listening() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path("begun").touch()
    time.sleep(FOR_EVER)


def end_slowly() -> None:
    """Close the files first, as a process does that ends. The rest takes long on a busy machine."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    time.sleep(1)
    os._exit(0)


def begun() -> None:
    while not Path("begun").exists():
        time.sleep(0.01)


def before_it_is_confirmed(pool: StoppedPool) -> None:
    pool.begin(work)
    begun()


def before_it_is_confirmed_and_after_a_lost_connection(pool: StoppedPool) -> None:
    pool.begin(work)
    begun()
    pool.flush()


def while_it_runs(pool: StoppedPool) -> None:
    pool.begin(work)
    begun()
    pool.loop_until(lambda: pool.jobs[0]._accepted)


def while_another_process_ends(pool: StoppedPool) -> None:
    while_it_runs(pool)
    pool.apply_async(end_slowly, correlation_id="other")
    pool.loop_until(lambda: any(process._sentinel_poll is None for process in pool._pool._pool))


def while_it_ends(pool: StoppedPool) -> None:
    os.environ["AGENT_RUNNERS_SOFT_SHUTDOWN_SECONDS"] = "600"
    pool.begin(work_for_a_moment)
    begun()


def while_it_does_not_listen(pool: StoppedPool) -> None:
    Pool.interrupt_seconds = Pool.close_seconds = 0.2
    pool.begin(work_without_listening)
    begun()


def after_all_processes_were_killed(pool: StoppedPool) -> None:
    pool.begin(work)
    begun()
    pool.loop_until(lambda: pool.jobs[0]._accepted)
    for process in pool._pool._pool:
        os.kill(process.pid, signal.SIGKILL)


def after_no_process_could_be_started(pool: StoppedPool) -> None:
    Path("scarce").touch()
    for process in pool._pool._pool:
        os.kill(process.pid, signal.SIGKILL)
    pool.loop_until(lambda: not pool._pool._pool)
    Path("scarce").unlink()
    pool.begin(work)
    begun()


SITUATIONS = (
    before_it_is_confirmed,
    before_it_is_confirmed_and_after_a_lost_connection,
    while_it_runs,
    while_another_process_ends,
    while_it_ends,
    while_it_does_not_listen,
    after_all_processes_were_killed,
    after_no_process_could_be_started,
)


def stop(situation: Callable[[StoppedPool], None], folder: Path) -> None:
    signal.alarm(SECONDS)
    folder.mkdir()
    os.chdir(folder)
    os.environ["AGENT_RUNNERS_SOFT_SHUTDOWN_SECONDS"] = "0"
    pool = StoppedPool(1)
    pool.start()
    situation(pool)
    processes = [*pool._pool._pool]
    pool.stop()
    assert not any(process._is_alive() for process in processes)
    Path("stopped").touch()


def main(folder: str) -> None:
    pids = []
    for situation in SITUATIONS:
        pid = os.fork()
        if pid == 0:
            try:
                stop(situation, Path(folder, situation.__name__))
            finally:
                sys.stderr.flush()
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
