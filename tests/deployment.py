"""A whole deployment of real processes on one machine: broker, web, workers on hosts of their own folders."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests import patiently
from tests.matrix import OVERLAY
from tests.processes import each_process
from tests.program import Started, run_program
from tests.sqlite import copy_migrated

PROGRAM = str(Path(sys.executable).with_name("agent-runners"))
PATIENCE_SECONDS = 300.0
"""Only there to end a test that fails: nothing that comes at all takes as long, on however slow a machine."""


def wait_for(what: str, probe: Callable[[], Any], seconds: float = PATIENCE_SECONDS, pause: float = 0.1) -> Any:
    """The first true answer of `probe`; fails, naming `what`, when it does not come. `pause` is for how many seconds it
    waits before it asks again, at first."""
    deadline, longest = time.monotonic() + seconds, max(pause, min(6 * pause, 0.6))
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if answer := probe():
                return answer
        time.sleep(pause)
        # What takes long is not asked for as often: the processors are for what is waited for.
        pause = min(pause * 1.3, longest)
    raise AssertionError(f"{what} did not come within {seconds:g} s")


Process = subprocess.Popen[bytes] | Started


class Deployment:
    """Start and stop its processes by name; `api` speaks HTTP as any caller would."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        port: int,
        variables: dict[str, str] | None = None,
        *,
        forked: bool = False,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.forked = forked
        """No process that is started starts a Python of its own: see `tests.program`. It uses a third of the time."""
        # Not below `folder`, which may lie too deep for the path of a socket.
        self._runtime = tempfile.TemporaryDirectory(prefix="ar-run-", dir="/tmp")
        self.variables = variables or {}
        self.url = f"http://127.0.0.1:{port}"
        self.processes: dict[str, Process] = {}
        self.descriptors: tuple[int, ...] = ()
        """What the processes inherit, as they may from whatever starts them."""
        self.settings = {
            "DATA_DIR": str(folder / "data"),
            "DATABASE_URL": database_url,
            "PUBLIC_URL": self.url,
            "WEB_PORT": str(port),
            "WEB_PROCESSES": "1",
            "FLOWER_PORT": str(port + 1),
            "MCP_PORT": str(port + 2),
            "AGENTS": "shell,scripted,claude,codex",
            "SANDBOX": "none",
            "OVERLAY": str(OVERLAY).lower(),
            "LOCAL_REPOSITORIES": str(folder / "repositories"),
            "ALLOW_HTTP": "true",
            "ALLOW_PRIVATE_ADDRESSES": "true",
            "SECRET_KEY": "a key for tests, which is long enough",
            "HEARTBEAT_SECONDS": "1",
            # Longer than a busy machine holds a heartbeat up.
            "LEASE_SECONDS": "15",
            "SWEEP_SECONDS": "1",
            "REDISPATCH_SECONDS": "3",
            "SOFT_SHUTDOWN_SECONDS": "1",
            "MIRROR_REFRESH_SECONDS": "0",
            **settings,
        }
        self.api = patiently.Client(base_url=f"{self.url}/api/v1")

    def environment(self, **settings: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_RUNNERS_")}
        mine = {f"AGENT_RUNNERS_{name}": value for name, value in {**self.settings, **settings}.items()}
        folders = {"XDG_RUNTIME_DIR": self._runtime.name, "TMPDIR": str(self.folder / "tmp")}
        return {**clean, **folders, **mine, **self.variables}

    def command(self, *arguments: str) -> str:
        """Run a command of the product to its end and return what it printed."""
        done = run_program([*arguments], self.environment())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str, *arguments: str, forked: bool | None = None, **settings: str) -> Process:
        """Start a process of the product, its output in `NAME.log`. `forked` is for this one only."""
        if self.forked if forked is None else forked:
            started = Started([*arguments], self.environment(**settings), self.folder / f"{name}.log")
            self.processes[name] = started
            return started
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [PROGRAM, *arguments],
                env=self.environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self.descriptors,
            )
        self.processes[name] = process
        return process

    def start_all(self) -> None:
        """Start everything with one session worker."""
        self.start_api()
        self.start_workers()

    def start_workers(self) -> None:
        """Start one worker of each kind."""
        self.start("sweep", "worker", "sweep")
        self.start("control", "worker", "control")
        self.start_worker("sessions-1")

    def start_api(self) -> None:
        """Migrate, make the first account, and start the broker and the web process."""
        self.prepare()
        self.start_web()

    def prepare(self) -> None:
        """Start the broker, migrate, and make the first account.

        A database of SQLite is a migrated one already, so that migrating it takes no time.
        """
        for name in ("repositories", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.start("broker", "broker")
        if not self.settings["DATABASE_URL"]:
            copy_migrated(self.folder / "data" / "agent-runners.db")
        self.command("migrate")
        printed = self.command("init", "--email", "ada@example.org", "--name", "Ada Lovelace")
        token = next(word for word in printed.split() if word.startswith("ar_"))
        self.api.headers["Authorization"] = f"Bearer {token}"

    def start_web(self, *, forked: bool | None = None) -> None:
        # It tells the workers of new sites. Each fetch ahead is a process, so workers of tests only do it where it is tested.
        self.start("web", "web", forked=forked, MIRROR_REFRESH_SECONDS="600")
        wait_for("the API", lambda: self.api.get(f"{self.url}/readyz").status_code == 200)

    def start_worker(self, host: str, *, forked: bool | None = None, **settings: str) -> Process:
        """Start a session worker with folders of its own, as on a host that shares nothing but the artifact store."""
        settings = {"WORK_DIR": str(self.folder / host), **settings}
        return self.start(host, "worker", "sessions", "--name", host, forked=forked, **settings)

    @property
    def database_url(self) -> str:
        """The database that the processes use, SQLite in the data folder where none was named."""
        return self.settings["DATABASE_URL"] or f"sqlite:///{self.folder / 'data' / 'agent-runners.db'}"

    @property
    def artifacts(self) -> Path:
        """The folder of the local artifact store."""
        return self.folder / "data" / "artifacts"

    @property
    def broker_socket(self) -> Path:
        """The unix socket of the embedded broker."""
        return next(Path(self._runtime.name).glob("*/broker.sock"))

    def stop(self, name: str, how: int = signal.SIGTERM) -> None:
        """Signal a process, and with SIGKILL all its children, and wait for its end."""
        process = self.processes.pop(name)
        if how == signal.SIGKILL:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
        process.send_signal(how)
        process.wait(timeout=PATIENCE_SECONDS)

    def kill(self, name: str) -> None:
        """End one process without a warning, and none of its children."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def kill_all(self) -> None:
        """End all processes and their children at once, as a machine that loses its power does."""
        started = list(self.processes.values())
        family = [psutil.Process(process.pid) for process in started]
        family += [child for each in family for child in each.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for process in started:
            process.wait(timeout=PATIENCE_SECONDS)
        self.processes.clear()

    def stop_all(self) -> None:
        self.api.close()
        for name in list(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(name, signal.SIGKILL)
        self._runtime.cleanup()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def memory(self, name: str) -> int:
        """The bytes in memory of the largest process of a worker's pool, without the agent that it runs."""
        sizes = [0]
        for process in psutil.Process(self.processes[name].pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                sizes.append(process.memory_info().rss)
        return max(sizes)

    # What callers do.

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON of a call that must succeed."""
        answer = self.api.request(method, path, **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else answer.text

    def make_repository(self, files: dict[str, str], name: str = "sample") -> Path:
        """A git repository with one commit on `main`."""
        path = self.folder / "repositories" / name
        path.mkdir(parents=True)
        for file, content in files.items():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_text(content)
        git(path, "init", "--quiet", "--initial-branch=main")
        git(path, "add", "--all")
        git(path, "commit", "--quiet", "--message=First")
        return path

    def make_site(self, repository: Path, **fields: Any) -> dict[str, Any]:
        """A site whose prompts are scripts, unless the fields say otherwise."""
        defaults = {"name": "sample", "default_branch": "main", "forge": "none", "default_agent": "shell"}
        return self.call("POST", "/sites", json={**defaults, "repo_url": str(repository), **fields})

    def run(self, site: dict[str, Any], prompt: str, **fields: Any) -> dict[str, Any]:
        return self.call("POST", "/agent_runners", json={"site_id": site["id"], "prompt": prompt, **fields})

    def follow_up(self, runner: dict[str, Any], prompt: str, **fields: Any) -> dict[str, Any]:
        return self.call("POST", f"/agent_runners/{runner['id']}/sessions", json={"prompt": prompt, **fields})

    def session(self, runner: dict[str, Any], session_id: str | None = None) -> dict[str, Any]:
        runner_id = runner["id"]
        session_id = session_id or self.call("GET", f"/agent_runners/{runner_id}")["latest_session_id"]
        return self.call("GET", f"/agent_runners/{runner_id}/sessions/{session_id}")

    def ended(self, runner: dict[str, Any], seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The runner's latest session, once it is final."""
        latest: str = self.call("GET", f"/agent_runners/{runner['id']}")["latest_session_id"]

        def final() -> dict[str, Any] | None:
            session = self.session(runner, latest)
            return session if session["state"] in ("DONE", "ERROR", "CANCELLED") else None

        return wait_for("the end of the session", final, seconds)

    def published(self, runner: dict[str, Any]) -> dict[str, Any]:
        """The runner, once neither a pull request nor a commit of it is being made."""

        def settled() -> dict[str, Any] | None:
            found = self.call("GET", f"/agent_runners/{runner['id']}")
            busy = found["pr_is_being_created"] or found["merge_commit_is_being_created"]
            return None if busy else found

        return wait_for("the end of the publication", settled)

    def has_step(self, runner: dict[str, Any], text: str) -> dict[str, Any]:
        """The runner's latest session, once a step of it contains `text`."""

        latest: str = self.call("GET", f"/agent_runners/{runner['id']}")["latest_session_id"]

        def shown() -> dict[str, Any] | None:
            session = self.session(runner, latest)
            return session if any(text in step["title"] + step["message"] for step in session["steps"]) else None

        return wait_for(f"a step that says {text!r}", shown)

    def diff(self, runner: dict[str, Any], session: dict[str, Any], kind: str) -> str:
        return self.call("GET", f"/agent_runners/{runner['id']}/sessions/{session['id']}/diff/{kind}")


def git(path: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=path, capture_output=True, text=True, check=True)
    return done.stdout


def seconds_to_sleep() -> str:
    """A time that no other process sleeps, by which those that do are found."""
    return f"9{uuid.uuid4().int % 10**12}"


def processes_with(marker: str) -> list[int]:
    """The processes whose command line contains `marker`."""
    found = []
    for pid, line in each_process("cmdline"):
        if marker in os.fsdecode(line).replace("\0", " ") and pid != os.getpid():
            found.append(pid)
    return found


@contextlib.contextmanager
def deployed(
    folder: Path,
    database_url: str,
    port: int,
    variables: dict[str, str] | None = None,
    *,
    forked: bool = False,
    **settings: str,
) -> Iterator[Deployment]:
    deployment = Deployment(folder, database_url, port, variables, forked=forked, **settings)
    try:
        deployment.start_all()
        yield deployment
    finally:
        deployment.stop_all()
