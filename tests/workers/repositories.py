"""Real repositories for tests: origins to fetch from, jobs and hosts to fetch with, and what comes of the diffs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from app.redaction.secrets import Secrets
from tests.matrix import OVERLAY
from tests.once import made_once
from workers.job import DiffKind, Host, Job
from workers.limits.budget import Budget
from workers.processes.lifeline import Lifeline
from workers.repository.mirror import Mirror
from workers.repository.object_format import ID_LENGTHS
from workers.repository.plain_name import plain_name
from workers.sandbox import probing
from workers.workspace import diffs, overlay_probe
from workers.workspace.workspace import Workspace

ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_ALLOW_PROTOCOL": "file",
}


def git(folder: Path, *arguments: str, stdin: bytes | None = None, **environment: str) -> str:
    """Run plain git as a developer would, and return what it printed."""
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        env={**ENVIRONMENT, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace").strip()


def commit_all(repository: Path, message: str = "a commit") -> str:
    """Commit every file of the folder as it is and return the commit."""
    git(repository, "add", "--all", "--force")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(repository, "rev-parse", "HEAD")


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    """Write files, making their folders."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def make_origin(
    folder: Path,
    files: dict[str, str | bytes],
    object_format: str = "sha1",
    then: Callable[[Path], object] = lambda made: None,
) -> Path:
    """A repository with one commit on `main`, and what `then` does to it. Git makes the first with these files, and others
    are copies of it."""

    def make(made: Path) -> None:
        made.mkdir()
        git(made, "init", "--quiet", "--initial-branch=main", "--template=", f"--object-format={object_format}")
        for name in ("hooks", "info"):
            (made / ".git" / name).mkdir()
        write(made, files)
        commit_all(made)
        then(made)

    made = made_once(("origin", files, object_format, then.__module__, then.__qualname__), make)
    prepare_for_hosts(made)
    shutil.copytree(made, folder, symlinks=True)
    return folder


def prepare_for_hosts(origin: Path) -> None:
    """Have new hosts of tests be given the newest commit of this origin, see `furnish`. It must stay as it is."""
    _with_this_commit[tip_of(origin)] = origin


_with_this_commit: dict[str, Path] = {}


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.diffs: dict[DiffKind, bytes] = {}
        self.contains_secret = False
        self.lfs_objects: dict[str, bytes] = {}

    def write(self, kinds: Sequence[DiffKind], chunks: Iterable[bytes], *, contains_secret: bool) -> None:
        self.diffs.update(dict.fromkeys(kinds, b"".join(chunks)))
        self.contains_secret = contains_secret

    def write_lfs_object(self, oid: str, chunks: Iterable[bytes]) -> None:
        self.lfs_objects[oid] = b"".join(chunks)

    def read_lfs_object(self, oid: str) -> Iterator[bytes]:
        if oid not in self.lfs_objects:
            raise FileNotFoundError(oid)
        yield self.lfs_objects[oid]


_prepared: list[Workspace] = []


def prepare(job: Job, host: Host) -> Workspace:
    """A workspace, which the end of the test disposes of at the latest."""
    know_sandbox(host)
    if not job.partial_clone:
        furnish(host, Path(job.repo_url), job.site_id)
    _prepared.append(Workspace.prepare(job, host, Budget(job.limits)))
    return _prepared[-1]


def furnish(host: Host, origin: Path, site_id: str) -> None:
    """Give a host what the first session of a site would fetch and make of a commit that `make_origin` has made.

    It is the same for all tests with this commit, and takes most of the time of many. Attacks are on hosts that do all of
    it themselves, so nothing is given except `while_furnishing`.
    """
    commit, site = tip_of(origin), plain_name(site_id)
    if _is_furnishing and commit in _with_this_commit and not (host.work_dir / "mirrors" / site).exists():
        made = _fetched(commit, host.sandbox_uid if overlay_probe.can_overlay(host) else None)
        for name in ("mirrors", "bases"):
            there = host.work_dir / name / site
            shutil.copytree(made / name / "site", there, ignore=shutil.ignore_patterns(f"files-{host.sandbox_uid}"))
        # What is below overlays is never written to, and its index knows the very files.
        for files in made.glob(f"bases/site/{commit}/files-{host.sandbox_uid}"):
            (there / commit / files.name).symlink_to(files)


def know_sandbox(host: Host) -> None:
    """Let a host know what the first one like it found out about the sandbox of this machine, `while_furnishing`.

    Each host tries it once, which takes as long as a session. A test with another program in the place of bubblewrap uses
    the fixture `unknown_sandbox`.
    """
    if _is_furnishing:
        first = _first_hosts.setdefault((host.sandbox, host.sandbox_uid, host.overlay), host)
        if (finding := probing.probe(first)).ok:
            probing._working[host] = finding
            overlay_probe._known[host] = overlay_probe.can_overlay(first)


_first_hosts: dict[tuple[str, int, bool], Host] = {}


@contextlib.contextmanager
def while_furnishing() -> Iterator[None]:
    _is_furnishing.append(True)
    try:
        yield
    finally:
        _is_furnishing.pop()


_is_furnishing: list[bool] = []


def tip_of(origin: Path) -> str:
    """The newest commit on `main`; nothing if it is no local repository."""
    with contextlib.suppress(OSError):
        return (origin / ".git/refs/heads/main").read_text().strip()
    return ""


def _fetched(commit: str, uid: int | None) -> Path:
    """The folder of a host that has the commit ready: for overlays of a user, if one is named."""
    origin = _with_this_commit[commit]
    overlays = {} if uid is None else {"sandbox": "bubblewrap", "sandbox_uid": uid}

    def fetch(work_dir: Path) -> None:
        host = make_host(work_dir, local_repositories=origin.parent, **overlays)
        know_sandbox(host)
        Workspace.prepare(make_job(origin), host).dispose()

    return made_once(("fetched", commit, uid), fetch)


def dispose_of_prepared() -> None:
    """Release the locks and the processes of git of all that `prepare` made."""
    while _prepared:
        _prepared.pop().dispose()


def fetch_base(host: Host, job: Job) -> str:
    """Fetch the commit that the job starts from into the host's mirror, and return it."""
    return Mirror(host, job.site_id, job.lifeline).obtain_base(job).sha


def make_host(folder: Path, **settings: Any) -> Host:
    """A host that may use the local repositories of the test."""
    folder.mkdir(parents=True, exist_ok=True)
    usual = {"work_dir": folder, "sandbox": "none", "overlay": OVERLAY, "local_repositories": folder.parent}
    return Host(**{**usual, **settings})


def make_job(repo_url: object, **settings: Any) -> Job:
    """A job on `main` of a repository, with a sink of its own."""
    given = {
        "site_id": "site",
        "runner_id": "runner",
        "session_id": "session",
        "attempt": 1,
        "repo_url": str(repo_url),
        "branch": "main",
        "prompt": "Do it.",
        "agent": "shell",
        "sink": Sink(),
        "secrets": Secrets(settings.get("credential"), settings.get("environment")),
        "lifeline": Lifeline(600),
        "on_interrupt": lambda: True,
    }
    return Job(**{**given, **settings})


def following(job: Job, attempt: int, **settings: Any) -> Job:
    """The next session of the same runner, which builds on the cumulative diff of `job`."""
    stored = stored_diffs(job).get("cumulative")

    def start_diff() -> Iterator[bytes]:
        assert stored is not None
        yield from (stored[place : place + 1000] for place in range(0, len(stored), 1000))

    return make_job(job.repo_url, attempt=attempt, start_diff=start_diff if stored else None, **settings)


def stored_diffs(job: Job) -> dict[DiffKind, bytes]:
    """What the job's sink holds."""
    assert isinstance(job.sink, Sink)
    return job.sink.diffs


def finish(workspace: Workspace, job: Job) -> str:
    """Store the diffs and return the id of the final tree."""
    workspace.begin_saving(None if job.lifeline.has_expired else job.lifeline)
    tree = workspace.snapshot()
    written = diffs.write_diffs(workspace, job, tree)
    assert (written.result, written.cumulative) == ("result" in stored_diffs(job), "cumulative" in stored_diffs(job))
    return tree


def applied(origin: Path, base: str, *patches: bytes, undone: bytes = b"") -> str:
    """The tree that plain `git apply --binary` of `patches`, one after the other, makes of a fresh checkout, and then
    that of `undone` with `--reverse`.

    The checkout is one without conversions. It is read anew in the end, so what counts is the bytes of the files.
    """
    fresh = origin.parent / f"fresh-{os.urandom(4).hex()}"
    objects = origin / (".git/objects" if (origin / ".git").exists() else "objects")
    is_sha1 = len(base) == ID_LENGTHS["sha1"]
    version = "0" if is_sha1 else "1\n[extensions]\n\tobjectFormat = sha256"
    files: dict[str, str | bytes] = {
        "HEAD": "ref: refs/heads/main\n",
        "config": f"[core]\n\trepositoryFormatVersion = {version}\n",
        "objects/info/alternates": f"{objects}\n",
        "info/attributes": "* -text -ident -filter -working-tree-encoding\n",
    }
    write(fresh / ".git", files)
    (fresh / ".git/refs").mkdir()
    git(fresh, "checkout", "--quiet", "--detach", base)
    for patch, *how in (*((patch,) for patch in patches), (undone, "--reverse")):
        if patch:
            git(fresh, "apply", "--binary", "--index", "--whitespace=nowarn", *how, "-", stdin=patch)
    assert git(fresh, "diff", "--name-only", "--ignore-submodules=all") == ""
    return git(fresh, "write-tree")


def names(workspace: Workspace, tree: str) -> set[str]:
    """The paths of a tree."""
    listed = workspace.git.run("ls-tree", "-r", "-z", "--name-only", tree)
    return {os.fsdecode(name) for name in listed.split(b"\0") if name}
