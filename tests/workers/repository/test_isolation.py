"""What git still can do while it is isolated: everything that a remote, its transport and its settings need."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from tests.certificates import certificate, server_context
from tests.workers.partial import contents_in, make_large
from tests.workers.publishing.publication import publication
from tests.workers.repositories import commit_all, git, make_job, make_origin, write
from tests.workers.repository.test_git_safety import TOKEN, serving
from workers.errors import EngineError
from workers.job import Host
from workers.processes.lifeline import Lifeline
from workers.publishing.publish import publish
from workers.repository.cone import EVERYTHING
from workers.repository.git import Git, GitFailed
from workers.repository.mirror import Mirror
from workers.repository.remote import Remote


@pytest.fixture
def web_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    names = (("forge.example", "127.0.0.1"), ("ssh.example", "127.0.0.1"))
    allowed = ("https", "http", "ssh")
    return dataclasses.replace(host, resolve=names, allowed_protocols=allowed, allow_private_addresses=True)


def obtain(host: Host, url: str) -> str:
    job = make_job(url, credential=TOKEN)
    return Mirror(host, job.site_id, job.lifeline).obtain_base(job).sha


def test_a_branch_is_merged_and_pushed_to(web_host: Host, tmp_path: Path) -> None:
    origin = make_origin(tmp_path / "origin", {"file": "one\n"})
    git(origin, "config", "http.receivepack", "true")
    base = git(origin, "rev-parse", "HEAD")
    with serving(origin) as server:
        assert obtain(web_host, server.url) == base
        git(origin, "checkout", "--quiet", "-b", "stage")
        write(origin, {"other": "file\n"})
        moved = commit_all(origin)
        git(origin, "checkout", "--quiet", "main")
        wanted = publication(server.url, base, "stage")
        done = publish(dataclasses.replace(wanted, secrets=Secrets(TOKEN), credential=TOKEN), web_host)
    assert git(origin, "rev-parse", "stage") == done.sha
    assert git(origin, "rev-parse", "stage^") == moved


def test_a_shallow_repository_is_refused_with_the_remedy(web_host: Host, tmp_path: Path) -> None:
    origin = make_origin(tmp_path / "origin", {"file": "one\n"})
    write(origin, {"file": "two\n"})
    commit_all(origin)
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{origin}", "shallow")
    with serving(tmp_path / "shallow") as server:
        with pytest.raises(EngineError, match="git fetch --unshallow") as caught:
            obtain(web_host, server.url)
        assert caught.value.code == "repository_refused"
        assert obtain(dataclasses.replace(web_host, isolate_git=False), server.url)


def test_contents_are_fetched_into_a_partial_mirror(web_host: Host, tmp_path: Path) -> None:
    origin = make_large(tmp_path / "origin", {"a": "a\n", "b": "b\n"})
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    with serving(origin) as server:
        job = make_job(server.url, credential=TOKEN, partial_clone=True)
        mirror = Mirror(web_host, job.site_id, job.lifeline)
        sha = mirror.obtain_base(job).sha
        assert contents_in(mirror.directory, origin) == set()
        mirror.contents(job).of_tree(sha, EVERYTHING)
        assert contents_in(mirror.directory, origin) == {"a", "b"}


def test_a_repository_with_long_ids_is_fetched(web_host: Host, tmp_path: Path) -> None:
    origin = make_origin(tmp_path / "origin", {"file": "one\n"}, "sha256")
    with serving(origin) as server:
        assert obtain(web_host, server.url) == git(origin, "rev-parse", "HEAD")


def test_a_certificate_of_the_operators_is_read_wherever_it_is(
    web_host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = make_origin(tmp_path / "origin", {"file": "one\n"})
    path = certificate(tmp_path, "forge.example")
    (tmp_path / "linked.pem").symlink_to(path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(tmp_path / "linked.pem"))
    with serving(origin) as server:
        server.socket = server_context(path).wrap_socket(server.socket, server_side=True)
        assert obtain(web_host, f"https://forge.example:{server.server_port}/repository.git")


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that prints its arguments and the key that its configuration names, which is this file."""
    key = tmp_path / "keys" / "deploy"
    write(tmp_path, {"keys/deploy": "the key\n", "keys/other": "another\n"})
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" -G "*) echo "identityfile {key}"; exit;; esac\n'
        f'echo "$@" >&2; cat {key} {key.parent}/other >&2\n'
        "exit 255\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return key


def test_ssh_gets_the_keys_that_its_configuration_names(web_host: Host, tmp_path: Path, fake_ssh: Path) -> None:
    remote = Remote("ssh://git@ssh.example:2222/x.git", None, web_host)
    assert remote.access.ssh_target == ("-p", "2222", "--", "git@ssh.example")
    git(tmp_path, "init", "--quiet", "--bare", "bare")
    with pytest.raises(GitFailed) as caught:
        Git(tmp_path / "bare", Lifeline(600)).run("ls-remote", "--", remote.url, access=remote.access)
    assert "-p 2222 git@ssh.example" in caught.value.errors
    assert "the key" in caught.value.errors and "another" not in caught.value.errors


def test_a_local_repository_is_served_as_it_is(web_host: Host, tmp_path: Path) -> None:
    """With its hooks, which are programs of the operator's."""
    origin = make_origin(tmp_path / "origin", {"file": "one\n"})
    assert not Remote(str(origin), None, web_host).access.isolated
