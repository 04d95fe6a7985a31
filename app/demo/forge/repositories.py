"""Bare repositories below one folder, `<owner>/<name>.git`, worked on by git's plumbing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"(?!\.)[\w.-]{1,100}(?<!\.git)", re.ASCII)
_PRIVATE = "private"
_NAME, _EMAIL = "Demo Forge", "forge@example.com"
_WHO = {
    "GIT_AUTHOR_NAME": _NAME,
    "GIT_AUTHOR_EMAIL": _EMAIL,
    "GIT_COMMITTER_NAME": _NAME,
    "GIT_COMMITTER_EMAIL": _EMAIL,
}


def git_environment(**more: str) -> dict[str, str]:
    """Nothing that the caller or the machine configured for git reaches the repositories of the forge."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        **more,
    }


@dataclass(frozen=True)
class Repository:
    """One repository. Every sha or branch that is passed in must come from the repository itself."""

    owner: str
    name: str
    folder: Path

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def is_private(self) -> bool:
        return (self.folder / _PRIVATE).exists()

    def default_branch(self) -> str:
        return (self.folder / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")

    def branches(self) -> dict[str, str]:
        """The sha of each branch."""
        lines = self._git("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads").splitlines()
        return {name: sha for sha, name in (line.split(" ", 1) for line in lines)}

    def is_ancestor(self, sha: str, of: str) -> bool:
        return self._run("merge-base", "--is-ancestor", sha, of).returncode == 0

    def is_related(self, one: str, other: str) -> bool:
        return self._run("merge-base", one, other).returncode == 0

    def commits(self, base: str, head: str) -> int:
        """How many commits `head` has that `base` has not."""
        return int(self._git("rev-list", "--count", f"{base}..{head}"))

    def changes(self, base: str, head: str) -> tuple[int, int, int]:
        """Lines added, lines deleted, files changed since `head` left `base`."""
        rows = [line.split("\t") for line in self._git(*_DIFF, "--numstat", f"{base}...{head}").splitlines()]
        added, deleted = (sum(int(row[column]) for row in rows if row[column] != "-") for column in (0, 1))
        return added, deleted, len(rows)

    def diff(self, base: str, head: str, limit: int) -> str:
        """The diff since `head` left `base`, as far as `limit` bytes reach."""
        command = ["git", *_DIFF, f"{base}...{head}"]
        with subprocess.Popen(command, cwd=self.folder, env=git_environment(), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            start = process.stdout.read(limit)
        return start.decode(errors="replace")

    def merged_tree(self, base: str, head: str) -> str | None:
        """The tree of a merge of both; None where they are in conflict."""
        merged = self._run("merge-tree", "--write-tree", base, head)
        return merged.stdout.split("\n", 1)[0] if merged.returncode == 0 else None

    def commit_tree(self, tree: str, parents: tuple[str, ...], message: str) -> str:
        arguments = [argument for parent in parents for argument in ("-p", parent)]
        return self._git("commit-tree", tree, *arguments, stdin=message).strip()

    def move(self, ref: str, sha: str, old: str | None = None) -> bool:
        """Point `ref` at `sha`; False where it is no longer at `old`."""
        return self._run("update-ref", ref, sha, *([old] if old else [])).returncode == 0

    def commit(self, branch: str, files: Mapping[str, str | bytes], message: str, start: str | None = None) -> str:
        """Put `files` into a commit on `branch`, which begins at `start` (a sha) where it is new; its sha."""
        parent = self.branches().get(branch, start)
        stream = [f"commit refs/heads/{branch}\ncommitter {_NAME} <{_EMAIL}> now\n".encode(), _data(message.encode())]
        if parent:
            stream.append(f"from {parent}\n".encode())
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            stream += [f"M 100644 inline {path}\n".encode(), _data(data)]
        command = ["git", "fast-import", "--quiet", "--date-format=now"]
        subprocess.run(command, cwd=self.folder, env=git_environment(), input=b"".join(stream), check=True)
        return self.branches()[branch]

    def _git(self, *arguments: str, stdin: str = "") -> str:
        result = self._run(*arguments, stdin=stdin)
        if result.returncode:
            raise RuntimeError(f"git {arguments[0]} failed in {self.full_name}: {result.stderr.strip()}")
        return result.stdout

    def _run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=git_environment(**_WHO),
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )


class Repositories:
    """All repositories of the forge: whatever lies below its folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, owner: str, name: str) -> Repository | None:
        if not (NAME.fullmatch(owner) and NAME.fullmatch(name)):
            return None
        folder = self.root / owner / f"{name}.git"
        return Repository(owner, name, folder) if (folder / "HEAD").is_file() else None

    def all(self) -> list[Repository]:
        places = sorted(self.root.glob("[!.]*/[!.]*.git"))
        found = (self.find(place.parent.name, place.name.removesuffix(".git")) for place in places)
        return [repository for repository in found if repository]

    def create(
        self, owner: str, name: str, files: Mapping[str, str | bytes], *, branch: str = "main", private: bool = False
    ) -> Repository:
        """A new repository with one commit; it appears when it is complete. Raise FileExistsError where it is taken."""
        if not (NAME.fullmatch(owner) and NAME.fullmatch(name)):
            raise ValueError(f"{owner}/{name} is no name for a repository.")
        place = self.root / owner / f"{name}.git"
        if place.exists():
            raise FileExistsError(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        try:
            command = ["git", "init", "--quiet", "--bare", f"--initial-branch={branch}", "--template=", str(draft)]
            subprocess.run(command, env=git_environment(), check=True)
            if private:
                (draft / _PRIVATE).touch()
            if files:
                Repository(owner, name, draft).commit(branch, files, "The first commit")
            draft.rename(place)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return Repository(owner, name, place)


_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--find-renames")


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)
