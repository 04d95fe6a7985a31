"""The demonstration forge as a separate process with faults, for tests that publish."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.demo.forge import repositories
from app.demo.forge.repositories import git_environment
from tests import patiently
from tests.deployment import wait_for
from tests.once import made_once
from tests.program import Started

TOKEN = "a-token-that-may-write"
READ_ONLY_TOKEN = "a-token-that-may-read"
TOKENS_OF_PEOPLE = {"ada": "a-token-of-ada-that-may-write", "grace": "a-token-of-grace-that-may-read"}
_numbers = itertools.count(1)


class Repository(repositories.Repository):
    """A repository that the test can change directly, instead of a push."""

    def commit(self, branch: str, files: Mapping[str, str | bytes], message: str, start: str | None = None) -> str:
        """Commit `files` to `branch`, which is created at `start` (a sha) if it is new. Returns the sha."""
        parent = self.branches().get(branch, start)
        who = "committer Somebody <somebody@example.com> now"
        stream = f"commit refs/heads/{branch}\n{who}\n".encode() + _data(message.encode())
        stream += f"from {parent}\n".encode() if parent else b""
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            stream += f"M 100644 inline {path}\n".encode() + _data(data)
        command = ["git", "fast-import", "--quiet", "--date-format=now"]
        subprocess.run(command, cwd=self.folder, env=git_environment(), input=stream, check=True)
        return self.branches()[branch]


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


class DemoForge:
    """Starts a forge. `url` serves git and pages, `api_url` the API; `token` may read and write, and so may that of Ada in
    `tokens_of_people`. Grace may only read."""

    token = TOKEN
    tokens_of_people = TOKENS_OF_PEOPLE
    read_only_token = READ_ONLY_TOKEN

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._options = options
        self._process, self.url = self._started(0)
        self.api_url = f"{self.url}/api/v3"
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        self.http = patiently.Client(base_url=self.api_url, headers=bearer)

    def make_repository(
        self,
        owner: str,
        name: str,
        files: Mapping[str, str | bytes],
        *,
        private: bool = False,
        object_format: str = "sha1",
    ) -> Repository:
        """A repository with one commit on `main`."""
        made = made_once(("hosted", files, object_format), lambda folder: _make(folder, files, object_format))
        repository = self.copy(Repository(owner, name, made), name)
        if private:
            (repository.folder / "private").touch()
        return repository

    def copy(self, repository: Repository, name: str) -> Repository:
        """Another repository of the same owner, with the same commits and pull requests."""
        copied = Repository(repository.owner, name, self.root / repository.owner / f"{name}.git")
        shutil.copytree(repository.folder, copied.folder)
        return copied

    @functools.cached_property
    def with_pull_request(self) -> Repository:
        """One whose branch `feature` is the pull request 1, to be copied."""
        repository = with_feature(self)
        values = {"head": "feature", "base": "main", "title": "A feature", "body": "What it does."}
        self.http.post(f"/repos/{repository.full_name}/pulls", json=values).raise_for_status()
        return repository

    def full_names(self) -> list[str]:
        """The names of all its repositories."""
        return [repository.full_name for repository in repositories.find_all(self.root)]

    def clone_url(self, full_name: str, token: str | None = None) -> str:
        """The URL for git, with `token` as the credential if it is given."""
        url = f"{self.url}/{full_name}.git"
        return url.replace("://", f"://anybody:{token}@") if token else url

    def repo_url(self, kind: str, full_name: str) -> str:
        """The URL of a site's repository, as that kind of forge has it."""
        owner, _, name = full_name.rpartition("/")
        places = {"azure_devops": f"{quote(owner)}/_git/{name}", "bitbucket_data_center": f"scm/{full_name}.git"}
        return f"{self.url}/{places[kind]}" if kind in places else self.clone_url(full_name)

    def pulls(self, full_name: str, **filters: str | int) -> list[dict[str, Any]]:
        """All pull requests from the API, newest first."""
        answer = self.http.get(f"/repos/{full_name}/pulls", params={"state": "all", "per_page": 100, **filters})
        return list(answer.raise_for_status().json())

    def merge(self, full_name: str, number: int) -> str:
        """Merge a pull request; the sha of the merge."""
        answer = self.http.put(f"/repos/{full_name}/pulls/{number}/merge", json={})
        return str(answer.raise_for_status().json()["sha"])

    def close(self, full_name: str, number: int) -> None:
        """Close a pull request without merging it."""
        self.http.patch(f"/repos/{full_name}/pulls/{number}", json={"state": "closed"}).raise_for_status()

    def down(self, seconds: float) -> None:
        """Answer every request with 503 for that many seconds; 0 ends it."""
        self.set_faults(down=seconds)

    def revoke(self) -> None:
        """Make all tokens invalid, until `restore`."""
        self.set_faults(revoked=True)

    def restore(self) -> None:
        self.set_faults(revoked=False)

    def set_faults(self, **faults: Any) -> None:
        """Set faults by name, see `tests.demo.faulty_forge`."""
        self.http.put(f"{self.url}/-/faults", json=faults).raise_for_status()

    def held(self) -> list[str]:
        """The `holds` with a waiting request."""
        return list(self.http.get(f"{self.url}/-/faults").raise_for_status().json()["held"])

    def kill(self) -> None:
        """Kill the process."""
        self._end(signal.SIGKILL)

    def start(self) -> None:
        """Start it again, with the same URL and data."""
        self._process, _ = self._started(int(self.url.rpartition(":")[2]))

    def stop(self) -> None:
        self._end(signal.SIGTERM)
        self.http.close()

    def _started(self, port: int) -> tuple[Started, str]:
        ada, grace = (f"{token} {login}" for login, token in TOKENS_OF_PEOPLE.items())
        files = {"token": f"{TOKEN}\n{ada}\n", "read-only-token": f"{READ_ONLY_TOKEN}\n{grace}\n"}
        for name, token in files.items():
            (self.root / f".{name}").write_text(token)
        options = [f"--{name}-file={self.root / f'.{name}'}" for name in files]
        arguments = ["--root", str(self.root), "--port", str(port), *options, *self._options]
        # Each start has a file of its own, since what is read there is the address of this one.
        log = self.root / f".log-{next(_numbers)}"
        process = Started(arguments, os.environ, log, "tests.demo.faulty_forge")

        def address() -> str | None:
            assert process.poll() is None, f"The demonstration forge did not start:\n{log.read_text()}"
            found = re.search(r"listens at (http://\S+)\n", log.read_text())
            return found and found[1]

        return process, wait_for("the address of the forge", address, pause=0.02)

    def _end(self, signal_number: int) -> None:
        """Does nothing if it has been ended already."""
        self._process.send_signal(signal_number)
        self._process.wait()


@contextlib.contextmanager
def demo_forge(root: Path, *options: str) -> Iterator[DemoForge]:
    forge = DemoForge(root, *options)
    try:
        yield forge
    finally:
        forge.stop()


def with_feature(forge: DemoForge) -> Repository:
    """A repository with a branch `feature` that is one commit ahead of `main`."""
    made = made_once("hosted with a feature", _make_with_feature)
    return forge.copy(Repository("acme", "", made), f"app-{next(_numbers)}")


def _make(folder: Path, files: Mapping[str, str | bytes], object_format: str = "sha1") -> Repository:
    """A repository with one commit on `main`."""
    options = ("--quiet", "--bare", "--initial-branch=main", "--template=", f"--object-format={object_format}")
    subprocess.run(["git", "init", *options, str(folder)], env=git_environment(), check=True)
    repository = Repository("", "", folder)
    repository.commit("main", files, "The first commit")
    return repository


def _make_with_feature(folder: Path) -> None:
    repository = _make(folder, {"README.md": "# App\n"})
    repository.commit("feature", {"feature.py": "print('new')\n"}, "A feature", start=repository.branches()["main"])


def git(*arguments: str | Path, at: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run git with an empty configuration."""
    who = {f"GIT_{role}_{what}": "dev@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    clean = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
    }
    path = {"PATH": os.environ["PATH"], "HOME": os.devnull}
    command = ["git", *map(str, arguments)]
    result = subprocess.run(command, cwd=at, env={**path, **clean, **who}, capture_output=True, text=True, check=False)
    if check and result.returncode:
        raise AssertionError(f"git {arguments[0]} failed: {result.stderr}")
    return result
