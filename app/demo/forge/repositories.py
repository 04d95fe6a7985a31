"""Bare repositories below one folder, `<owner>/<name>.git`, used through git's plumbing commands."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Azure DevOps has spaces in names.
_NAME = re.compile(r"(?![. ])[\w. -]{1,100}(?<!\.git)(?<! )", re.ASCII)
_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--find-renames")
# What two commits have to do with each other stays as it is, and many answers and pages say it.
_remembered = functools.lru_cache(maxsize=1000)
_WHO = {f"GIT_{role}_NAME": "Demo Forge" for role in ("AUTHOR", "COMMITTER")}
_WHO |= {f"GIT_{role}_EMAIL": "forge@example.com" for role in ("AUTHOR", "COMMITTER")}


def git_environment(**more: str) -> dict[str, str]:
    """A minimal environment, so that git configuration of the caller or the machine has no effect."""
    clean = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C.UTF-8"}
    # `Repository.branches` reads these files.
    format_of_refs = {"GIT_DEFAULT_REF_FORMAT": "files"}
    return {"PATH": os.environ.get("PATH", os.defpath), **clean, **format_of_refs, **_WHO, **more}


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
        return (self.folder / "private").exists()

    @property
    def default_branch(self) -> str:
        return (self.folder / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")

    def branches(self) -> dict[str, str]:
        """The sha of each branch. Each request asks for them, so git's files are read, and no git is started."""
        heads, found = self.folder / "refs" / "heads", {}
        for folder, _, names in os.walk(heads):
            # A new sha is first written to a file that ends so. A file that has gone by now is packed, or deleted.
            for path in (Path(folder, name) for name in names if not name.endswith(".lock")):
                with contextlib.suppress(FileNotFoundError):
                    found[str(path.relative_to(heads))] = path.read_text().strip()
        # They are packed before their files are deleted, so they are looked for in this order.
        packed = self.folder / "packed-refs"
        for line in packed.read_text().splitlines() if packed.exists() else ():
            sha, _, ref = line.partition(" ")
            if ref.startswith("refs/heads/"):
                found.setdefault(ref.removeprefix("refs/heads/"), sha)
        return dict(sorted(found.items()))

    def is_ancestor(self, sha: str, of: str) -> bool:
        return self.run("merge-base", "--is-ancestor", sha, of).returncode == 0

    @_remembered
    def commits(self, base: str, head: str) -> int:
        """The number of commits in `head` that are not in `base`."""
        return int(self.git("rev-list", "--count", f"{base}..{head}"))

    @_remembered
    def changes(self, base: str, head: str) -> tuple[int, int, int]:
        """Lines added, lines deleted, files changed since `head` left `base`."""
        summary = self.git(*_DIFF, "--shortstat", f"{base}...{head}")
        added, deleted, files = (re.search(rf"(\d+) {what}", summary) for what in ("insertion", "deletion", "file"))
        return int(added[1]) if added else 0, int(deleted[1]) if deleted else 0, int(files[1]) if files else 0

    def diff(self, base: str, head: str, limit: int) -> str:
        """The first `limit` bytes of the diff since `head` left `base`."""
        command = ["git", *_DIFF, f"{base}...{head}"]
        with subprocess.Popen(command, cwd=self.folder, env=git_environment(), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            return process.stdout.read(limit).decode(errors="replace")

    @_remembered
    def merged_tree(self, base: str, head: str) -> str | None:
        """The tree of a merge of both; None if they conflict. Raises RuntimeError if git fails."""
        merged = self.run("merge-tree", "--write-tree", base, head)
        # It ends with 1 if they conflict, and also if it does not find them, and then it prints no tree.
        if merged.returncode not in (0, 1) or not merged.stdout:
            raise self._failed("merge-tree", merged)
        return merged.stdout.split("\n", 1)[0] if merged.returncode == 0 else None

    def move(self, ref: str, sha: str, old: str | None = None) -> bool:
        """Point `ref` at `sha`. Returns False if it is no longer at `old`."""
        return self.run("update-ref", ref, sha, *([old] if old else [])).returncode == 0

    def stored(self, name: str) -> list[dict[str, Any]]:
        """The objects in a file of the forge's own; none if there is no such file."""
        path = self.folder / name
        return list(json.loads(path.read_text())) if path.exists() else []

    def store(self, name: str, objects: Iterable[Any]) -> None:
        """Store dataclasses in a file. It is replaced atomically, so a crash cannot damage it."""
        draft = self.folder / f"{name}.new"
        draft.write_text(json.dumps([asdict(each) for each in objects]))
        draft.replace(self.folder / name)

    def git(self, *arguments: str, stdin: str = "") -> str:
        """The output of git. Raises RuntimeError if it fails."""
        result = self.run(*arguments, stdin=stdin)
        if result.returncode:
            raise self._failed(arguments[0], result)
        return result.stdout

    def _failed(self, command: str, result: subprocess.CompletedProcess[str]) -> RuntimeError:
        return RuntimeError(f"git {command} failed in {self.full_name}: {result.stderr.strip()}")

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command, environment = ["git", "-C", str(self.folder), *arguments], git_environment()
        return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, errors="replace")


def find(root: Path, owner: str, name: str) -> Repository | None:
    folder = root / owner / f"{name}.git"
    is_named = all(_NAME.fullmatch(part) for part in (*owner.split("/"), name))
    return Repository(owner, name, folder) if is_named and (folder / "HEAD").is_file() else None


def find_all(root: Path) -> list[Repository]:
    places = sorted([*root.glob("*/*.git"), *root.glob("*/*/*.git")])
    found = (find(root, str(place.parent.relative_to(root)), place.stem) for place in places)
    return [repository for repository in found if repository]
