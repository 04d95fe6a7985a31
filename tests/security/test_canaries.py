"""Secrets of every kind lie around a worker, and an agent looks for them wherever it can: it finds none."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from tests.demo.forge import TOKEN, DemoForge, demo_forge
from tests.deployment import Deployment
from tests.ports import free_port
from tests.security.ordinary_user import needs_root, run_again
from tests.workers.engine import linux, needs_bubblewrap

pytestmark = [linux, needs_bubblewrap, pytest.mark.xdist_group("canaries")]
SEARCH = Path(__file__).with_name("search.py")
# The library of our interpreter is tens of thousands of files of the system, where it is not below /usr.
COMMAND = f"python3 search.py --pass-over {Path(os.__file__).resolve().parent}"
# The agent, which is given less of the machine than others, looks at all there is, twice.
SEARCH_SECONDS = 1200.0
KINDS = ("environment", "setting", "descriptor", "home", "broker", "database", "port", "abstract")
"""Where the secrets lie. The site's access token is one more; in the clear it is in the worker's memory alone."""


@dataclass
class Planted:
    """A deployment with a secret of each kind around it."""

    deployment: Deployment
    forge: DemoForge
    canaries: dict[str, str]
    port: int
    """Where a service of the machine tells a secret."""

    @property
    def everything(self) -> list[str]:
        return [*self.canaries.values(), TOKEN]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("all")
    canaries = {kind: f"canary-{kind}-{secrets.token_hex(16)}" for kind in KINDS}
    home, held = folder / "home", folder / "held"
    for name in (".netrc", ".ssh/id_ed25519", ".aws/credentials", ".claude/.credentials.json"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(canaries["home"])
    held.write_text(canaries["descriptor"])
    descriptor = os.open(held, os.O_RDONLY)
    held.unlink()
    variables = {"HOME": str(home), "WORKER_CANARY": canaries["environment"]}
    settings = {"SANDBOX": "bubblewrap", "SECRET_KEY": canaries["setting"]}
    running = Deployment(folder / "here", "", free_port(), variables, forked=True, **settings)
    running.folder.mkdir()
    with demo_forge(folder / "forge") as forge, _servers(canaries) as port:
        try:
            _start(running, descriptor)
            _plant(running, canaries)
            yield Planted(running, forge, canaries, port)
        finally:
            running.stop_all()
            os.close(descriptor)


def _start(running: Deployment, descriptor: int) -> None:
    """The web process and the worker of sessions are started as an operator does it: their variables are in their
    environment for all to see, and they have what they inherit."""
    running.descriptors = (descriptor,)
    running.prepare()
    running.start_web(forked=False)
    for name in ("sweep", "control"):
        running.start(name, "worker", name)
    running.start_worker("sessions-1", forked=False)


def _plant(running: Deployment, canaries: dict[str, str]) -> None:
    with closing(redis.Redis(unix_socket_path=str(running.broker_socket))) as client:
        client.set("canary", canaries["broker"])
    engine = sa.create_engine(running.database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE accounts SET name = :name"), {"name": canaries["database"]})
    engine.dispose()


@contextmanager
def _servers(canaries: dict[str, str]) -> Iterator[int]:
    """Services of the machine that tell a secret to whoever asks, and the port of one."""
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("")  # The kernel gives it a name.
        abstract.listen()
        for kind, listener in (("port", port), ("abstract", abstract)):
            threading.Thread(target=_tell, args=(listener, canaries[kind].encode()), daemon=True).start()
        yield port.getsockname()[1]


def _tell(listener: socket.socket, secret: bytes) -> None:
    with suppress(OSError):
        while True:
            with listener.accept()[0] as one, suppress(OSError):
                one.sendall(secret)


def found(text: str) -> set[str]:
    """The secrets that a search printed."""
    return {word[::-1] for word in re.findall(r"FOUND \S+ (\S+)", text)}


def test_an_agent_that_looks_everywhere_finds_no_secret(planted: Planted) -> None:
    deployment, forge = planted.deployment, planted.forge
    repository = forge.make_repository("ada", "searched", {"search.py": SEARCH.read_text()})
    site = deployment.call(
        "POST",
        "/sites",
        json={
            "repo_url": forge.clone_url(repository.full_name),
            "forge": "github",
            "forge_api_url": forge.api_url,
            "access_token": forge.token,
            "setup_command": f"{COMMAND} | tee setup.txt",
        },
    )
    runner = deployment.run(site, f"{COMMAND} | tee agent.txt; cp setup.txt of-setup.txt", agent="shell")
    session = deployment.ended(runner, SEARCH_SECONDS)
    assert session["state"] == "DONE", session["failure"]
    diff = deployment.diff(runner, session, "result")
    assert "looked at {" in diff and "agent.txt" in diff and "dump.txt" in diff, "it looked"
    assert "FOUND" not in diff
    deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
    assert deployment.published(runner)["pr_error"] is None
    outputs = {
        "steps": str(session["steps"]),
        "session": str(deployment.session(runner)),
        "diff": diff,
        "pull request": str(forge.pulls(repository.full_name)),
        **{f"log of {name}": deployment.log(name) for name in deployment.processes},
    }
    for where, text in outputs.items():
        for secret in planted.everything:
            assert secret not in text and secret[::-1] not in text, where


def test_the_same_search_finds_them_where_nothing_is_in_the_way(planted: Planted) -> None:
    """Run by the worker's user on the machine itself, so that the test above is known to be able to fail."""
    folders = [str(planted.deployment.folder), str(planted.deployment.folder.parent / "home")]
    # No other port, as servers of other tests listen on this machine, which count who asks them.
    command = [sys.executable, str(SEARCH), "--port", str(planted.port), *folders]
    done = subprocess.run(command, cwd=planted.deployment.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(planted.canaries.values()) <= found(done.stdout)
    ports = re.findall(r"^PORTS (.*)", done.stdout, re.MULTILINE)
    assert str(planted.port) in ports[0].split(), "an agent asks those that it is told of"
    for name in ("web", "sessions-1"):
        process = Path("/proc", str(planted.deployment.processes[name].pid))
        variables = (process / "environ").read_text()
        assert planted.canaries["environment"] in variables and planted.canaries["setting"] in variables, name
        held = []
        for each in (process / "fd").iterdir():
            # The process opens and closes others meanwhile.
            with contextlib.suppress(FileNotFoundError):
                held.append(os.readlink(each))
        assert any(path.endswith("/held (deleted)") for path in held), name


@needs_root
def test_it_is_the_same_where_agent_and_worker_are_one_user() -> None:
    """Both of the above once more, by a worker that is not root: the kernel alone would let its agents see it."""
    run_again(__file__)
