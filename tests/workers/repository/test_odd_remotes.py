"""Unusual repositories: shallow ones, histories with fsck errors of old tools, and both formats of object ids."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.workers.publishing.publication import publication
from tests.workers.repositories import commit_all, fetch_base, git, make_host, make_job, make_origin, prepare, write
from workers.errors import EngineError
from workers.job import Host, Job
from workers.publishing.publish import publish
from workers.repository.mirror import Mirror

PERSON = b"A <a@example.org> 1700000000 +0000"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"file": "one\n"})


def failure(host: Host, job: Job) -> EngineError:
    with pytest.raises(EngineError) as caught:
        fetch_base(host, job)
    return caught.value


def put(repository: Path, kind: str, content: bytes) -> str:
    """Store an object as it is, even if git considers it invalid, and return its id."""
    return git(repository, "hash-object", "-t", kind, "-w", "--stdin", "--literally", stdin=content)


def put_commit(repository: Path, tree: str, author: bytes = PERSON, extra: bytes = b"", parent: str = "") -> str:
    """Make `main` a commit of `tree` with a raw author line."""
    begins = b"tree %b\n%b" % (tree.encode(), b"parent %b\n" % parent.encode() if parent else b"")
    header = begins + b"author %b\n%bcommitter %b\n\nx\n" % (author, extra, PERSON)
    made = put(repository, "commit", header)
    git(repository, "update-ref", "refs/heads/main", made)
    return made


@pytest.fixture
def shallow(origin: Path, tmp_path: Path) -> Path:
    """A shallow clone with the newest two commits."""
    for content in ("two\n", "three\n"):
        write(origin, {"file": content})
        commit_all(origin)
    git(tmp_path, "clone", "--quiet", "--depth", "2", f"file://{origin}", "shallow")
    return tmp_path / "shallow"


def test_a_shallow_repository_is_supported(host: Host, shallow: Path) -> None:
    newest = git(shallow, "rev-parse", "HEAD")
    job = make_job(shallow)
    workspace = prepare(job, host)
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(workspace.dispose)
        assert workspace.base_sha == newest
        assert (workspace.checkout / "file").read_text() == "three\n"
        assert workspace.git.line("rev-list", "--count", newest) == "2"


def test_changes_to_a_shallow_repository_are_merged_and_pushed(host: Host, shallow: Path) -> None:
    base = git(shallow, "rev-parse", "HEAD")
    git(shallow, "checkout", "--quiet", "-b", "stage")
    write(shallow, {"other": "file\n"})
    moved = commit_all(shallow)
    git(shallow, "checkout", "--quiet", "main")
    done = publish(publication(shallow, base, "stage"), host)
    assert git(shallow, "rev-parse", "stage") == done.sha
    assert git(shallow, "rev-parse", "stage^") == moved
    assert git(shallow, "ls-tree", "--name-only", "stage").split() == ["file", "new", "other"]


def test_the_tip_of_an_earlier_fetch_is_never_used_for_this_one(host: Host, origin: Path) -> None:
    fetch_base(host, make_job(origin))
    mirror = host.work_dir / "mirrors" / "site"
    # Git refuses to set the ref, and the fetch goes on without it.
    write(mirror, {"refs/fetched/tip": ""})
    write(origin, {"file": "two\n"})
    newest = commit_all(origin)
    assert fetch_base(host, make_job(origin)) == newest


def test_a_history_with_harmless_fsck_errors_is_accepted(host: Host, origin: Path) -> None:
    tree, parent = git(origin, "rev-parse", "HEAD^{tree}"), git(origin, "rev-parse", "HEAD")
    for author in (
        b"A<a@example.org> 1700000000 +0000",
        b"<a@example.org> 1700000000 +0000",
        b"A 1700000000 +0000",
        b"A a@example.org> 1700000000 +0000",
        b"A > <a@example.org> 1700000000 +0000",
        b"A <a@example.org> 01700000000 +0000",
        b"A <a@example.org> 99999999999999999999 +0000",
        b"A <a@example.org> 1700000000 +051800",
        b"A <a@example.org>1700000000 +0000",
    ):
        parent = put_commit(origin, tree, author, parent=parent)
    assert fetch_base(host, make_job(origin)) == parent
    assert git(host.work_dir / "mirrors" / "site", "rev-list", "--count", parent) == "10"


def test_a_commit_with_two_authors_and_a_padded_mode_are_accepted(host: Host, origin: Path) -> None:
    blob = bytes.fromhex(git(origin, "rev-parse", "HEAD:file"))
    inner = put(origin, "tree", b"100644 file\0" + blob)
    tree = put(origin, "tree", b"040000 folder\0" + bytes.fromhex(inner))
    made = put_commit(origin, tree, extra=b"author " + PERSON + b"\n")
    assert fetch_base(host, make_job(origin)) == made


@pytest.mark.parametrize(
    ("entries", "rule"),
    [
        (("a", "a"), "duplicateEntries"),
        (("b", "a"), "treeNotSorted"),
        ((".git",), "hasDotgit"),
        (("..",), "hasDotdot"),
    ],
)
def test_a_tree_that_is_ambiguous_or_unsafe_is_refused_by_name(
    host: Host, origin: Path, entries: tuple[str, ...], rule: str
) -> None:
    blob = bytes.fromhex(git(origin, "rev-parse", "HEAD:file"))
    tree = put(origin, "tree", b"".join(b"100644 %b\0%b" % (name.encode(), blob) for name in entries))
    put_commit(origin, tree)
    error = failure(host, make_job(origin))
    assert (error.code, error.retryable) == ("repository_refused", False)
    assert tree in error.message and rule in error.message and "git fsck" in error.message


@pytest.fixture
def sha256(tmp_path: Path) -> Path:
    """A repository with ids of SHA-256, and one commit."""
    return make_origin(tmp_path / "new", {"file": "one\n"}, "sha256")


def test_a_mirror_takes_the_format_of_its_first_commit(host: Host, sha256: Path, origin: Path) -> None:
    git(origin, "update-ref", "-d", "refs/heads/main")
    assert failure(host, make_job(origin)).code == "branch_not_found", "and has a mirror, which is empty"
    tip = git(sha256, "rev-parse", "HEAD")
    assert fetch_base(host, make_job(sha256)) == tip
    for wanted in (tip, tip[:12], tip[:40]):
        assert fetch_base(host, make_job(sha256, sha=wanted, attempt=2)) == tip
    assert failure(host, make_job(sha256, sha="1" * 64)).code == "base_gone"


def test_a_refresh_takes_the_format_of_the_remote(host: Host, sha256: Path) -> None:
    mirror = Mirror(host, "site", make_job(sha256).lifeline)
    assert mirror.refresh(make_job(sha256)) == git(sha256, "rev-parse", "HEAD")


def test_a_remote_of_another_format_is_refused_once_work_has_begun(
    host: Host, sha256: Path, origin: Path, tmp_path: Path
) -> None:
    old = fetch_base(host, make_job(origin))
    error = failure(host, make_job(sha256))
    assert (error.code, error.retryable) == ("object_format_changed", False)
    assert "SHA-256" in error.message and "Create a new site" in error.message
    assert fetch_base(host, make_job(origin, base_sha=old)) == old, "what was begun is still there"
    with pytest.raises(EngineError) as caught:
        publish(publication(sha256, old, "shared"), host)
    assert (caught.value.code, caught.value.stage) == ("object_format_changed", "publish")
    elsewhere = make_host(tmp_path / "another-worker")
    error = failure(elsewhere, make_job(sha256, base_sha=old))
    assert error.code == "base_gone" and "another object format" in error.message


def test_a_binary_diff_of_the_other_format_does_not_apply(host: Host, sha256: Path, origin: Path) -> None:
    write(origin, {"b": b"b\0"})
    git(origin, "add", "b")
    diff = git(origin, "diff", "--cached", "--binary", "--full-index") + "\n\n"
    with pytest.raises(EngineError) as caught:
        prepare(make_job(sha256, start_diff=lambda: iter([diff.encode()])), host)
    assert caught.value.code == "diff_does_not_apply" and "without full index line" in caught.value.message
