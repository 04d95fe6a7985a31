"""What a server could take that found a flaw in the programs that git contacts it with: nothing but what it served."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.listening import Listener
from tests.security.ordinary_user import needs_root, run_again
from tests.workers.engine import IS_ROOT, linux
from tests.workers.repositories import git, make_host
from workers.job import Host
from workers.processes.confinement import landlock_version
from workers.processes.lifeline import Lifeline
from workers.repository.git import Git, GitFailed
from workers.repository.remote import Remote
from workers.sandbox import seccomp

ROBBER = Path(__file__).with_name("robbing_transport.py")
KNOWS_PORTS = 4
# They are refused to other users than root without any isolation, on some systems or on all.
PRIVILEGED = {"trace a process", "read the memory of a process", "use a capability", "make a user namespace"}
pytestmark = [
    linux,
    pytest.mark.skipif(not landlock_version(), reason="NOT TESTED: no Landlock; boot with `landlock` in `lsm=`"),
    pytest.mark.skipif(
        seccomp.program() is None, reason="NOT TESTED: no libseccomp; install it with `apt-get install libseccomp2`"
    ),
]


@dataclasses.dataclass(frozen=True)
class Robbery:
    """A remote whose transport is hostile, and the worker that contacts it."""

    host: Host
    mirror: Path
    url: str
    victim: subprocess.Popen[bytes]

    def run(self, **changes: bool) -> dict[str, str]:
        """What the transport tried, with "done" or "refused"."""
        remote = Remote(self.url, None, dataclasses.replace(self.host, **changes))
        with pytest.raises(GitFailed) as caught:
            Git(self.mirror, Lifeline(600)).run("ls-remote", "--", remote.url, access=remote.access)
        found = dict(line.split("=", 1) for line in caught.value.errors.splitlines() if "=" in line)
        assert found.pop("fetched", "") == "done", caught.value.errors
        return {name: answer.split(" ")[0] for name, answer in found.items()}


@pytest.fixture
def robbery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Robbery]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    host = make_host(tmp_path / "host", allowed_protocols=("http",), allow_private_addresses=True)
    mirrors = [host.work_dir / "mirrors" / name for name in ("site", "other")]
    for mirror in mirrors:
        mirror.mkdir(parents=True)
        git(mirror, "init", "--quiet", "--bare", "--template=", ".")
        shutil.copyfile(mirror / "HEAD", mirror / "HEAD.bak")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x\n")
    (outside / "secret.key").write_text("secret\n")
    with contextlib.ExitStack() as stack:
        remote, inner = (stack.enter_context(Listener(socket.socket.close)) for _ in range(2))
        places = {
            "mirror": str(mirrors[0]),
            "other": str(mirrors[1]),
            "outside": str(outside),
            "secret": str(outside / "secret.key"),
            "socket": _listen(stack, str(outside / "socket")),
            "abstract": _listen(stack, f"\0{tmp_path}")[1:],
            "port": inner.port,
            "remote": remote.port,
        }
        victim = subprocess.Popen(["sleep", "600"], env={"SECRET": "x"})
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        _take_the_place_of_the_transport(tmp_path / "git", {**places, "victim": victim.pid}, monkeypatch)
        yield Robbery(host, mirrors[0], f"http://127.0.0.1:{remote.port}/x.git", victim)


def _listen(stack: contextlib.ExitStack, address: str) -> str:
    listening = stack.enter_context(socket.socket(socket.AF_UNIX))
    listening.bind(address)
    listening.listen()
    return address


def _take_the_place_of_the_transport(folder: Path, places: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have git start the robber where it would start `git-remote-http`."""
    folder.mkdir()
    shutil.copyfile(ROBBER, folder / "robber.py")
    (folder / "robber.json").write_text(json.dumps(places))
    python = os.path.realpath(sys.executable)
    for name, command in {
        "git": f'{shutil.which("git")} --exec-path={folder} "$@"',
        "git-remote-http": f"{python} -I -S {folder}/robber.py",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\nexec {command}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    # Python may be installed anywhere.
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{sys.base_prefix}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}")


def test_a_transport_reaches_nothing_but_its_remote_and_its_mirror(robbery: Robbery) -> None:
    found = robbery.run()
    succeeded = {name for name, answer in found.items() if answer != "refused"}
    assert len(found) > 20
    assert succeeded <= ({"connect to another port"} if landlock_version() < KNOWS_PORTS else set())
    assert "State:\tS" in Path(f"/proc/{robbery.victim.pid}/status").read_text()


def test_without_isolation_it_reaches_all_of_that(robbery: Robbery) -> None:
    """Shows that the attempts work."""
    refused = {name for name, answer in robbery.run(isolate_git=False).items() if answer != "done"}
    assert refused <= (set() if IS_ROOT else PRIVILEGED)


@needs_root
def test_all_of_this_for_a_worker_that_is_not_root() -> None:
    run_again(__file__)
