"""The user's own checkout: which site it belongs to, and changes that are applied to it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.cli.errors import CommandError

_SCP = re.compile(r"(?:[^@/:]+@)?([^/:]+):(?!//)(.+)")


@dataclass(frozen=True)
class Checkout:
    """A folder under git. `remotes` are its URLs, that of `origin` first; `branch` is what its branch follows there.

    `has_changes` means that there are changes that are not committed, or not pushed.
    """

    root: Path
    remotes: Sequence[str]
    branch: str | None
    has_changes: bool


def find(folder: Path) -> Checkout | None:
    """The checkout that `folder` is in. None if there is none."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    if not root:
        return None
    names = sorted(_git(folder, "remote").split(), key=lambda name: name != "origin")
    upstream = _git(folder, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}")
    return Checkout(
        root=Path(root),
        remotes=[_git(folder, "remote", "get-url", name) for name in names],
        branch=upstream.partition("/")[2] or None,
        has_changes=bool(_git(folder, "status", "--porcelain") or _git(folder, "rev-list", "-1", "@{upstream}..HEAD")),
    )


def find_site(sites: Iterable[dict[str, Any]], remotes: Iterable[str]) -> dict[str, Any] | None:
    """The site of one of the remotes, whatever the protocol of either URL."""
    by_place = {_place(site["repo_url"]): site for site in sites}
    return next((by_place[_place(url)] for url in remotes if _place(url) in by_place), None)


def https_url(remote: str) -> str:
    """The https URL of a repository whose remote may be for ssh. Other URLs and paths stay as they are."""
    parts = urlsplit(remote)
    if parts.scheme == "ssh" and parts.hostname:
        return f"https://{parts.hostname}{parts.path}"
    if not parts.scheme and not remote.startswith(("/", ".")) and (scp := _SCP.fullmatch(remote)):
        return f"https://{scp[1]}/{scp[2]}"
    return remote


def apply(root: Path, diff: bytes, paths: Iterable[str]) -> None:
    """Apply a diff to the files of a checkout, merged with what was committed since its base.

    Raises CommandError if one of the files at `paths` has changes that are not committed, or if the diff conflicts; the
    checkout then stays as it was.
    """
    listed = subprocess.run(
        ["git", "-C", str(root), "status", "--porcelain", "-z", "--no-renames"], capture_output=True, check=False
    )
    changed = {entry[3:].decode(errors="surrogateescape") for entry in listed.stdout.split(b"\0") if entry}
    if overlap := sorted(changed & set(paths)):
        raise CommandError(
            f"nothing was applied, because you have changes in {', '.join(overlap)}. Commit or stash them, then run "
            "`agent-runners diff --apply`"
        )
    command = ["git", "-C", str(root), "apply", "--binary", "--whitespace=nowarn"]
    # A merge that fails leaves conflict marks, so it is tried on nothing first.
    for options in (["--check"], ["--3way", "--check"]):
        tried = subprocess.run([*command, *options], input=diff, capture_output=True, check=False)
        if tried.returncode == 0:
            merge = [option for option in options if option != "--check"]
            tried = subprocess.run([*command, *merge], input=diff, capture_output=True, check=False)
            break
    if tried.returncode:
        reason = tried.stderr.decode(errors="replace").strip().splitlines()[:3]
        raise CommandError(f"the diff does not apply to {root}: {'; '.join(reason)}. Nothing was changed")


def local_changes(root: Path) -> tuple[str, bytes]:
    """The commit that the checkout and its remote branch have in common, and a diff of all that was changed since.

    Commits that are not pushed are in it, changes that are not committed, and new files that are not ignored. The index
    of the checkout stays as it is. Raises CommandError if the branch follows none of the remote's.
    """
    base = _git(root, "merge-base", "HEAD", "@{upstream}")
    if not base:
        raise CommandError(
            "your branch follows no branch of the remote, so there is no commit that a worker could start from. Push it "
            "once with `git push --set-upstream`, or leave your changes out: --without-changes"
        )
    index = root / _git(root, "rev-parse", "--git-path", "index")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "index")
        if index.exists():
            shutil.copyfile(index, copy)
        environment = {**os.environ, "GIT_INDEX_FILE": str(copy)}
        # As a worker makes diffs: without what the user's configuration adds for people.
        shown = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/")
        for arguments in (("add", "--all"), ("diff", "--cached", "--binary", "--full-index", *shown, base)):
            command = ["git", "-C", str(root), *arguments]
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
            if done.returncode:
                reason = done.stderr.decode(errors="replace").strip().splitlines()[:3]
                raise CommandError(f"git could not read your changes: {'; '.join(reason)}")
    return base, done.stdout


def _place(url: str) -> tuple[str, str]:
    """The host and the path of a repository."""
    parts = urlsplit(https_url(url))
    return (parts.hostname or "").lower(), parts.path.strip("/").removesuffix(".git")


def _git(folder: Path, *arguments: str) -> str:
    """The output of a command; empty if it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
