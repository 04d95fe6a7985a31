"""Git over HTTP, as the demonstration forge serves it: real git clones and pushes."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import httpx
import pytest

from tests import patiently
from tests.demo.forge import READ_ONLY_TOKEN, DemoForge, Repository, git, with_feature


@pytest.fixture
def clone(forge: DemoForge, repository: Repository, tmp_path: Path) -> Path:
    git("clone", "--quiet", forge.clone_url(repository.full_name), tmp_path / "clone")
    return tmp_path / "clone"


def commit(clone: Path, path: str, content: bytes) -> str:
    (clone / path).write_bytes(content)
    git("add", "--all", at=clone)
    git("commit", "--quiet", "-m", f"Change {path}", at=clone)
    return git("rev-parse", "HEAD", at=clone).stdout.strip()


def push(
    forge: DemoForge, repository: Repository, clone: Path, ref: str, token: str | None, *options: str
) -> str | None:
    """The errors of git; None if it succeeded."""
    url = forge.clone_url(repository.full_name, token)
    result = git(*options, "push", "--porcelain", url, ref, at=clone, check=False)
    return result.stdout + result.stderr if result.returncode else None


def test_a_public_repository_is_cloned_without_a_token(clone: Path) -> None:
    assert (clone / "README.md").read_text() == "# App\n"
    assert git("symbolic-ref", "HEAD", at=clone).stdout.strip() == "refs/heads/main"


def test_a_push_needs_a_token_that_may_write(forge: DemoForge, repository: Repository, clone: Path) -> None:
    sha = commit(clone, "new", b"new")
    for token, words in (
        (None, "could not read Username"),
        ("wrong", "Authentication failed"),
        (forge.read_only_token, "Permission to acme/"),
    ):
        assert words in push(forge, repository, clone, "HEAD:new", token)
    assert "new" not in repository.branches()
    assert push(forge, repository, clone, "HEAD:new", forge.token) is None
    assert repository.branches()["new"] == sha


def test_branches_are_those_that_git_knows_packed_or_not(repository: Repository) -> None:
    main, feature = (repository.branches()[name] for name in ("main", "feature"))
    repository.git("update-ref", "refs/heads/folder/other", main)
    repository.git("pack-refs", "--all")
    repository.git("update-ref", "refs/heads/main", feature)
    repository.git("update-ref", "refs/heads/folder/new", main)
    repository.git("update-ref", "-d", "refs/heads/feature")
    assert repository.branches() == {"folder/new": main, "folder/other": main, "main": feature}


@pytest.mark.parametrize("token", [None, READ_ONLY_TOKEN])
def test_a_push_cannot_be_passed_off_as_a_fetch(forge: DemoForge, repository: Repository, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{forge.url}/{repository.full_name}.git"
    pushed = patiently.post(f"{url}/git-receive-pack?service=git-upload-pack", content=b"0000", headers=headers)
    asked = patiently.get(f"{url}/info/refs?service=git-upload-pack&service=git-receive-pack", headers=headers)
    assert pushed.status_code == (403 if token else 401)
    assert b"service=git-receive-pack" not in asked.content


def test_a_bearer_header_is_accepted(forge: DemoForge, repository: Repository, clone: Path) -> None:
    header = f"http.extraHeader=Authorization: Bearer {forge.token}"
    assert push(forge, repository, clone, "HEAD:new", None, "-c", header) is None


def test_a_private_repository_is_hidden_without_a_token(forge: DemoForge, tmp_path: Path) -> None:
    forge.make_repository("acme", "secret", {"a": "b"}, private=True)
    for name in ("acme/secret", "acme/none"):
        assert "could not read Username" in git("ls-remote", forge.clone_url(name), check=False).stderr
        assert patiently.get(f"{forge.api_url}/repos/{name}").status_code == 404
        assert patiently.get(f"{forge.url}/{name}").status_code in (401, 404)
    assert "Repository not found." in git("ls-remote", forge.clone_url("acme/none", forge.token), check=False).stderr
    assert "secret" not in patiently.get(forge.url).text
    git("clone", "--quiet", forge.clone_url("acme/secret", forge.read_only_token), tmp_path / "secret")
    assert (tmp_path / "secret" / "a").read_text() == "b"


def test_a_large_push_arrives_in_pieces(forge: DemoForge, repository: Repository, clone: Path) -> None:
    sha = commit(clone, "large", os.urandom(1024 * 1024))
    assert push(forge, repository, clone, "HEAD:large", forge.token, "-c", "http.postBuffer=65536") is None
    assert repository.branches()["large"] == sha
    git("fetch", "--quiet", forge.clone_url(repository.full_name), "large", at=clone)


def test_a_large_push_that_is_refused_gets_its_answer(forge: DemoForge, repository: Repository, clone: Path) -> None:
    commit(clone, "large", os.urandom(6 * 1024 * 1024))
    header = f"http.extraHeader=Authorization: Bearer {forge.read_only_token}"
    said = push(forge, repository, clone, "HEAD:large", None, "-c", "http.postBuffer=65536", "-c", header)
    assert "403" in said


def test_a_compressed_request_is_understood(forge: DemoForge, repository: Repository) -> None:
    request = b"0014command=ls-refs\n00010014ref-prefix HEAD\n0000"
    answer = patiently.post(
        f"{forge.url}/{repository.full_name}.git/git-upload-pack",
        content=gzip.compress(request),
        headers={
            "Content-Type": "application/x-git-upload-pack-request",
            "Content-Encoding": "gzip",
            "Git-Protocol": "version=2",
        },
    )
    assert answer.status_code == 200
    assert f"{repository.branches()['main']} HEAD".encode() in answer.content


def test_a_push_with_a_lease_is_refused_when_the_branch_has_moved(
    forge: DemoForge, repository: Repository, clone: Path
) -> None:
    git("fetch", "--quiet", "origin", "feature:feature", at=clone)
    seen = repository.branches()["feature"]
    moved = repository.commit("feature", {"other": "1"}, "Meanwhile")
    git("checkout", "--quiet", "feature", at=clone)
    commit(clone, "mine", b"mine")
    url = forge.clone_url(repository.full_name, forge.token)
    lease = git("push", f"--force-with-lease=feature:{seen}", url, "feature", at=clone, check=False)
    assert "stale info" in lease.stderr
    assert repository.branches()["feature"] == moved


def test_references_of_pull_requests_can_be_fetched_but_not_pushed(
    forge: DemoForge, repository: Repository, clone: Path
) -> None:
    forge.http.post(
        f"/repos/{repository.full_name}/pulls", json={"title": "T", "head": "feature", "base": "main"}
    ).raise_for_status()
    git("fetch", "--quiet", "origin", "refs/pull/1/head", at=clone)
    fetched = git("rev-parse", "FETCH_HEAD", at=clone).stdout.strip()
    assert fetched == repository.branches()["feature"]
    assert "hidden ref" in push(forge, repository, clone, "HEAD:refs/pull/1/head", forge.token)


def test_a_protected_branch_accepts_no_push(own_forge: DemoForge, tmp_path: Path) -> None:
    own_forge.set_faults(protected=["main"])
    repository = with_feature(own_forge)
    main = repository.branches()["main"]
    clone = tmp_path / "clone"
    git("clone", "--quiet", own_forge.clone_url(repository.full_name), clone)
    commit(clone, "new", b"new")
    said = push(own_forge, repository, clone, "HEAD:main", own_forge.token)
    assert "protected branch hook declined" in said and "GH006" in said
    assert repository.branches()["main"] == main
    assert push(own_forge, repository, clone, "HEAD:mainly", own_forge.token) is None
    own_forge.http.post(
        f"/repos/{repository.full_name}/pulls", json={"title": "T", "head": "feature", "base": "main"}
    ).raise_for_status()
    own_forge.merge(repository.full_name, 1)
    assert repository.branches()["main"] != main


def test_pushes_are_refused_by_an_injected_fault(own_forge: DemoForge, tmp_path: Path) -> None:
    repository = with_feature(own_forge)
    clone = tmp_path / "clone"
    git("clone", "--quiet", own_forge.clone_url(repository.full_name), clone)
    own_forge.down(60)
    assert "503" in push(own_forge, repository, clone, "HEAD:other", own_forge.token)
    own_forge.down(0)
    own_forge.revoke()
    assert "Authentication failed" in push(own_forge, repository, clone, "HEAD:other", own_forge.token)


@pytest.mark.parametrize("path", ["/acme/../../etc/info/refs", "/.forge/hooks/info/refs", "/acme/%2e%2e/info/refs"])
def test_no_path_leads_out_of_the_repositories(forge: DemoForge, path: str) -> None:
    headers = {"Authorization": f"Bearer {forge.token}"}
    answer = patiently.get(httpx.URL(forge.url, raw_path=f"{path}?service=git-upload-pack".encode()), headers=headers)
    assert answer.status_code in (404, 401)


def test_concurrent_clones_are_served(forge: DemoForge, repository: Repository, tmp_path: Path) -> None:
    url = forge.clone_url(repository.full_name)
    threads = [threading.Thread(target=git, args=("clone", "--quiet", url, tmp_path / str(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in tmp_path.glob("*/README.md")) == ["README.md"] * 4
