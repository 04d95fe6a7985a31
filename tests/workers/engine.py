"""What the tests of the engine's process side share: real processes, and ways to see whether they are gone."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from app.redaction.secrets import Secrets
from tests.matrix import usual
from tests.processes import each_process
from tests.program import fresh_processes
from tests.workers.repositories import make_origin
from workers.job import DiffKind, Host, Job, Limits
from workers.limits.budget import Budget
from workers.limits.command import running
from workers.processes.launch import Launch, prepare
from workers.processes.lifeline import Lifeline, boot_time
from workers.processes.lines import Line
from workers.sandbox import Sandbox, open_sandbox, probe
from workers.sandbox.base import Overlay

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
TOOLS = {"PATH": os.environ.get("PATH", os.defpath)}
linux = pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: needs /proc; run it on Linux")


def _why_no_bubblewrap() -> str:
    with tempfile.TemporaryDirectory() as folder:
        finding = probe(Host(work_dir=Path(folder)))
    return "" if finding.ok else f"{finding.reason} {finding.remedy}"


_REASON = _why_no_bubblewrap()
needs_bubblewrap = pytest.mark.skipif(bool(_REASON), reason=f"NOT TESTED: {_REASON}")
SANDBOXES = [pytest.param("bubblewrap", marks=needs_bubblewrap), "none"]
# The one in which sessions run here.
AVAILABLE = "none" if _REASON else "bubblewrap"
# What does not depend on how a process is held is tried in one of them.
USUAL_SANDBOX = SANDBOXES if _REASON else usual(SANDBOXES)


@dataclass(frozen=True)
class Folders:
    """The directories of a workspace without a repository."""

    root: Path
    checkout: Path
    home: Path
    attachments: Path
    overlay: Overlay | None = None


def folders(below: Path, owner: int | None = None) -> Folders:
    made = Folders(*(below / name for name in ("root", "checkout", "home", "attachments")))
    for path in (made.root, made.checkout, made.home, made.attachments):
        path.mkdir(parents=True)
        if owner is not None:
            os.chown(path, owner, owner)
    return made


def sandbox_in(below: Path, kind: str) -> Sandbox:
    """A sandbox around fresh directories below a folder."""
    host = Host(work_dir=below, sandbox="bubblewrap" if kind == "bubblewrap" else "none")
    owner = host.sandbox_uid if kind == "bubblewrap" and IS_ROOT else None
    return open_sandbox(host, folders(below, owner), Limits(), None)


def shell(script: str) -> Launch:
    """A launch without any sandbox."""
    return Launch(["sh", "-c", script], TOOLS, "/")


@dataclass
class Ran:
    """What a command did."""

    lines: list[Line]
    status: int | None

    @property
    def out(self) -> str:
        return "\n".join(line.text for line in self.lines if line.stream == "out")

    @property
    def err(self) -> str:
        return "\n".join(line.text for line in self.lines if line.stream == "err")


def finish(
    launch: Launch,
    *,
    limits: Limits | None = None,
    stdin: bytes = b"",
    merged: bool = False,
    lifeline: Lifeline | None = None,
    groups: Sequence[str] = (),
) -> Ran:
    """Run a command to its end."""
    budget = Budget(limits or Limits())
    lines: list[Line] = []
    with running(
        launch,
        lifeline=lifeline or Lifeline(600),
        budget=budget,
        stage="agent",
        stdin=stdin,
        merged=merged,
        prepared=prepare(groups),
    ) as process:
        lines += [line for line in process.lines() if line]
    return Ran(lines, process.status)


class Stubborn:
    """A tree of processes that does all it can to outlive what started it. They are known by an odd argument."""

    def __init__(self) -> None:
        self._mark = f"3{random.randrange(10**8):08}"

    @property
    def script(self) -> str:
        """Ignores signals, leaves the session, orphans itself; then waits."""
        sleep = f"sleep {self._mark}"
        return textwrap.dedent(f"""\
            trap '' TERM INT HUP QUIT
            {sleep} &
            setsid {sleep} &
            (setsid sh -c '{sleep} & {sleep} & exit' &)
            (trap '' TERM; (setsid sh -c 'trap "" TERM; {sleep}; :' &) &)
            echo ready
            """)

    def alive(self) -> int:
        """How many of the tree are alive, seen from outside of every sandbox."""
        words = [b"sleep", self._mark.encode()]
        return sum(line.split(b"\0")[:2] == words for _, line in each_process("cmdline"))

    def rises(self) -> None:
        eventually(lambda: self.alive() >= 5, "the tree never stood")

    def falls(self) -> None:
        eventually(lambda: self.alive() == 0, "processes survived")


def eventually(condition: Callable[[], bool], otherwise: str, seconds: float = 300) -> None:
    """Wait until something is so. The time is only there to end a test that fails."""
    end, pause = time.monotonic() + seconds, 0.01
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(pause)
        # Many conditions look at every process of the machine, and the processors are for what is waited for.
        pause = min(pause * 1.2, 0.25)


def beating(lease: float) -> Lifeline:
    """A lifeline that is extended for as long as this process runs: if it is frozen, it lasts for `lease` seconds."""
    lifeline = Lifeline(lease)

    def beat() -> None:
        while True:
            lifeline.extend_to(boot_time() + lease)
            time.sleep(lease / 20)

    threading.Thread(target=beat, daemon=True).start()
    return lifeline


@contextlib.contextmanager
def another_worker(below: Path, kind: str, script: str, lease: float) -> Iterator[psutil.Process]:
    """A process that runs `script` the way a worker does, to be killed or frozen."""
    worker = fresh_processes.Process(target=_work, args=(below, kind, script, lease))
    worker.start()
    try:
        yield psutil.Process(worker.pid)
    finally:
        worker.kill()
        worker.join()


def _work(below: Path, kind: str, script: str, lease: float) -> None:
    finish(sandbox_in(below, kind).launch(["sh", "-c", script], {}), lifeline=beating(lease))


@dataclass
class MemorySink:
    """Keeps diffs in memory."""

    diffs: dict[DiffKind, bytes] = field(default_factory=dict)
    contains_secret: bool = False
    conversation: bytes | None = None
    lfs_objects: dict[str, bytes] = field(default_factory=dict)

    def write(self, kinds: Sequence[DiffKind], chunks: Iterable[bytes], *, contains_secret: bool) -> None:
        self.diffs.update(dict.fromkeys(kinds, b"".join(chunks)))
        self.contains_secret = contains_secret

    def write_lfs_object(self, oid: str, chunks: Iterable[bytes]) -> None:
        self.lfs_objects[oid] = b"".join(chunks)

    def read_lfs_object(self, oid: str) -> Iterator[bytes]:
        if oid not in self.lfs_objects:
            raise FileNotFoundError(oid)
        yield self.lfs_objects[oid]

    def write_conversation(self, chunks: Iterable[bytes]) -> None:
        self.conversation = b"".join(chunks)


def job(
    prompt: str = "",
    *,
    agent: str = "shell",
    credential: str | None = None,
    environment: Mapping[str, str] | None = None,
    **more: object,
) -> Job:
    """A job with nothing special about it."""
    settings: dict[str, object] = {
        "site_id": "site",
        "runner_id": "runner",
        "session_id": f"session-{random.randrange(10**9)}",
        "attempt": 1,
        "repo_url": "https://example.com/repository.git",
        "branch": "main",
        "prompt": prompt,
        "agent": agent,
        "sink": MemorySink(),
        "secrets": Secrets(credential, environment),
        "credential": credential,
        "environment": environment or {},
        "lifeline": Lifeline(600),
        "on_interrupt": lambda: True,
    }
    return Job(**{**settings, **more})  # type: ignore[arg-type]


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM raises SystemExit in the main thread, as it does in a Celery worker."""

    def handler(number: int, frame: object) -> None:
        raise SystemExit(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def sigterm_once(condition: Callable[[], bool]) -> threading.Thread:
    """Send SIGTERM to this process when something has become so."""

    def wait() -> None:
        eventually(condition, "nothing to interrupt")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def git(where: Path, *arguments: str) -> str:
    """Run git in a folder of the test's own."""
    names = {f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    clean = {**TOOLS, **names, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(
        ["git", *arguments], cwd=where, env=clean, check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(at: Path, files: Sequence[tuple[str, str]] = (("README", "hello\n"),)) -> Path:
    """A repository with one commit on `main`."""
    return make_origin(at, dict(files))
