"""Large files are on the LFS server before the commits with their pointers are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from tests.demo.forge import DemoForge, Repository
from tests.workers.lfs.repositories import BIG, oid_of, pointer, stored
from tests.workers.repositories import Sink, make_host
from workers.errors import EngineError
from workers.job import Host
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import Change
from workers.publishing.publish import Published, PublishJob, publish

NEW = b"new content\n" * 5
needs_git_lfs = pytest.mark.skipif(
    shutil.which("git-lfs") is None, reason="NOT TESTED: git-lfs is missing. Install it: apt install git-lfs"
)


def diff_of(path: str, content: bytes) -> bytes:
    lines = "".join(f"+{line}\n" for line in pointer(content).splitlines())
    return f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,3 @@\n{lines}".encode()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path / "work", allowed_protocols=("http",), allow_private_addresses=True)


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def land(forge: DemoForge, repository: Repository, host: Host, sink: Sink) -> Callable[..., Published]:
    """Commits these diffs to a branch, one commit for each."""

    def run(*diffs: bytes, **more: object) -> Published:
        changes = [
            Change("Ada", "ada@example.org", 1_700_000_000 + each, "Add", lambda diff=diff: iter([diff]))  # type: ignore[misc]
            for each, diff in enumerate(diffs)
        ]
        job = PublishJob(
            site_id="site",
            repo_url=forge.clone_url(repository.full_name),
            base_sha=repository.branches()["main"],
            branch="work",
            base_branch="main",
            changes=tuple(changes),
            last=changes[-1],
            secrets=Secrets("a-secret-of-the-site"),
            lifeline=Lifeline(600),
            on_push=lambda sha: None,
            credential=forge.token,
            read_lfs_object=sink.read_lfs_object,
        )
        return publish(replace(job, **more), host)  # type: ignore[arg-type]

    return run


def test_what_the_server_lacks_of_all_commits_is_uploaded(
    land: Callable[..., Published], repository: Repository, sink: Sink
) -> None:
    first, second = b"first", b"second"
    sink.lfs_objects = {oid_of(each): each for each in (first, second, b"of nothing that is published")}

    land(diff_of("a.bin", first), diff_of("b.bin", second) + diff_of("c.bin", BIG))

    assert stored(repository) == {oid_of(each) for each in (BIG, first, second)}
    assert "work" in repository.branches()


def test_content_that_is_nowhere_is_named_and_the_rest_is_published(
    land: Callable[..., Published], repository: Repository
) -> None:
    published = land(diff_of("a.bin", NEW))

    assert published.warnings == (
        "The content of these files of Git LFS is neither stored here nor on the server: a.bin.",
    )
    assert repository.branches()["work"] == published.sha


def test_a_secret_in_a_large_file_is_not_published(
    land: Callable[..., Published], repository: Repository, sink: Sink
) -> None:
    content = b"a-secret-of-the-site\n"
    sink.lfs_objects = {oid_of(content): content}

    with pytest.raises(EngineError) as caught:
        land(diff_of("a.bin", content))

    assert caught.value.code == "contains_secret"
    assert stored(repository) == {oid_of(BIG)}
    assert "work" not in repository.branches()


def test_a_token_that_may_not_write_uploads_nothing(
    land: Callable[..., Published], forge: DemoForge, repository: Repository, sink: Sink
) -> None:
    sink.lfs_objects = {oid_of(NEW): NEW}

    with pytest.raises(EngineError) as caught:
        land(diff_of("a.bin", NEW), credential=forge.read_only_token)

    assert (caught.value.code, caught.value.stage) == ("lfs_upload_failed", "publish")
    assert "access token was rejected" in caught.value.message
    assert "work" not in repository.branches()


@needs_git_lfs
def test_the_program_git_lfs_clones_what_was_published(
    land: Callable[..., Published], forge: DemoForge, repository: Repository, sink: Sink, tmp_path: Path
) -> None:
    sink.lfs_objects = {oid_of(NEW): NEW}
    land(diff_of("a.bin", NEW))

    clone(forge.clone_url(repository.full_name, forge.token), tmp_path / "clone")

    assert (tmp_path / "clone" / "a.bin").read_bytes() == NEW
    assert (tmp_path / "clone" / "assets" / "big.bin").read_bytes() == BIG


@needs_git_lfs
def test_the_demonstration_forge_takes_a_push_of_the_program_git_lfs(
    forge: DemoForge, repository: Repository, tmp_path: Path
) -> None:
    folder = tmp_path / "clone"
    clone(forge.clone_url(repository.full_name, forge.token), folder)
    (folder / "pushed.bin").write_bytes(NEW)

    for arguments in (
        ("add", "--all"),
        ("commit", "--quiet", "--message=New"),
        ("push", "--quiet", "origin", "HEAD:refs/heads/work"),
    ):
        as_developer(folder, *arguments)

    assert oid_of(NEW) in stored(repository)


def clone(url: str, to: Path) -> None:
    to.mkdir()
    as_developer(to, "init", "--quiet")
    as_developer(to, "lfs", "install", "--local")
    as_developer(to, "remote", "add", "origin", url)
    as_developer(to, "fetch", "--quiet", "origin")
    branch = "origin/work" if "origin/work" in as_developer(to, "branch", "--remotes") else "origin/main"
    as_developer(to, "checkout", "--quiet", branch)


def as_developer(folder: Path, *arguments: str) -> str:
    """Run git with the program `git-lfs`, as a developer does."""
    names = {f"GIT_{who}_{what}": "dev@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    clean = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder.parent),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**clean, **names}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
