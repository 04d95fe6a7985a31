"""P1 and P2: how long a session takes around an agent that does nothing, beside a checkout by git and an exec."""

from __future__ import annotations

import functools
import itertools
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from bench.deployments import SAY_TIME, Clock, Timed, deployment, small_repository
from bench.figures import Figure, Samples, Size, at_most
from bench.large_repository import CHANGED, large_repository

REST_SECONDS = 0.5
# 588 files, 5 MB.
WRITE_MUCH = """mkdir new; awk 'BEGIN { for (file = 0; file < 588; file++) { name = "new/" file ".txt"
for (line = 0; line < 90; line++) printf "%d %090d\\n", file, file * line > name
close(name) } }'"""


def small(size: Size) -> Iterator[Figure]:
    """A session on a small repository, alone, back to back and as a follow-up."""
    rounds = size.pick(1, 10, 40)
    with deployment() as deployed:
        deployed.start_worker("sessions-1")
        repository, clock = small_repository(deployed), Clock(deployed)
        site, raw = deployed.make_site(repository), Raw(repository)
        prompt = f"{SAY_TIME}; echo changed >> f0.txt"
        # The first ones wait until the worker has started and has fetched the repository.
        for _ in range(size.pick(1, 3, 3)):
            clock.run(site, prompt)
        alone, following = [], []
        for _ in range(rounds):
            raw.measure(prompt)
            time.sleep(REST_SECONDS)
            timed, runner = clock.time(lambda: deployed.run(site, prompt))
            alone.append(timed)
            time.sleep(REST_SECONDS)
            following.append(clock.time(functools.partial(deployed.follow_up, runner, prompt))[0])
        back_to_back = [clock.run(site, prompt) for _ in range(rounds)]
    yield first_command("POST until the first command", alone, raw, 100)
    yield done("POST until DONE", alone, raw, 160)
    yield first_command("back to back: POST until the first command", back_to_back, raw, 110)
    yield first_command("follow-up: POST until the first command", following, raw, 80)


def large(size: Size) -> Iterator[Figure]:
    """A session on a repository of 50,000 files."""
    with deployment() as deployed:
        deployed.start_worker("sessions-1")
        repository = large_repository(deployed, size.pick(50, 50_000, 50_000))
        site, clock, raw = deployed.make_site(repository, name="large"), Clock(deployed), Raw(repository)
        prompt = f"{SAY_TIME}; echo changed >> {CHANGED}"
        clock.run(site, prompt)
        sessions = []
        for number in range(size.pick(1, 5, 30)):
            if number < size.pick(1, 2, 5):
                raw.measure(prompt)
            time.sleep(1)
            sessions.append(clock.run(site, prompt))
    yield first_command("POST until the first command", sessions, raw, 150)
    yield done("POST until DONE", sessions, raw, 300)


def save(size: Size) -> Iterator[Figure]:
    """Saving a change of 588 files and 5 MB."""
    with deployment() as deployed:
        deployed.start_worker("sessions-1")
        repository, clock = small_repository(deployed), Clock(deployed)
        site, raw = deployed.make_site(repository), Raw(repository)
        prompt = f"{WRITE_MUCH}; {SAY_TIME}"
        clock.run(site, prompt)
        sessions = []
        for _ in range(size.pick(1, 3, 20)):
            raw.measure(prompt)
            sessions.append(clock.run(site, prompt))
    saved = [each.done - each.said for each in sessions]
    anchor = Samples("git add and diff", raw.saved)
    yield Figure("end of the agent until DONE", "ms", saved, anchor, [at_most(3, times_anchor=True)])


class Raw:
    """The same done by hand: a worktree of a bare clone, a shell, and the diff. Milliseconds."""

    def __init__(self, repository: Path, at_once: int = 1) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        # Git fails if worktrees are added to one repository at once.
        self._mirrors = SimpleQueue[Path]()
        self._names = itertools.count()
        self.checked_out: list[float] = []
        self.saved: list[float] = []
        for number in range(at_once):
            mirror = Path(self._folder.name) / f"mirror-{number}.git"
            _git(["clone", "--quiet", "--bare", str(repository), str(mirror)])
            self._mirrors.put(mirror)

    def measure(self, script: str) -> None:
        mirror = self._mirrors.get()
        self._measure(script, mirror)
        self._mirrors.put(mirror)

    def _measure(self, script: str, mirror: Path) -> None:
        tree = mirror.with_name(f"tree-{next(self._names)}")
        begun = time.perf_counter()
        _git(["-C", str(mirror), "worktree", "add", "--quiet", "--detach", str(tree), "main"])
        subprocess.run(["sh", "-c", ":"], cwd=tree, check=True)
        checked_out = time.perf_counter()
        subprocess.run(["sh", "-c", script], cwd=tree, stdout=subprocess.DEVNULL, check=True)
        ended = time.perf_counter()
        _git(["-C", str(tree), "add", "--all"])
        with tempfile.TemporaryFile() as diff:
            _git(["-C", str(tree), "diff", "--cached", "--binary", "--full-index"], diff)
        self.checked_out.append((checked_out - begun) * 1000)
        self.saved.append((time.perf_counter() - ended) * 1000)

    @property
    def whole(self) -> list[float]:
        return [first + second for first, second in zip(self.checked_out, self.saved, strict=True)]


def _git(arguments: list[str], output: IO[bytes] | None = None) -> None:
    subprocess.run(["git", *arguments], stdout=output, check=True)


def first_command(name: str, sessions: list[Timed], raw: Raw, goal: float) -> Figure:
    anchor = Samples("git worktree add and exec", raw.checked_out)
    return Figure(name, "ms", [each.first_command for each in sessions], anchor, [at_most(goal)])


def done(name: str, sessions: list[Timed], raw: Raw, goal: float) -> Figure:
    anchor = Samples("git worktree add, exec, add and diff", raw.whole)
    return Figure(name, "ms", [each.done for each in sessions], anchor, [at_most(goal)])
