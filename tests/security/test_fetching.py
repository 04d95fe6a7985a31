"""Where the worker itself goes for a repository or a forge: never to an inner address that somebody else chose."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from tests.listening import Listener
from tests.workers.repositories import commit_all, git, make_host, make_job, make_origin
from tests.workers.repository.test_git_safety import TOKEN, Server, serving
from workers.errors import EngineError
from workers.job import Host
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import Change
from workers.publishing.publish import PublishJob, PullRequestSpec, publish
from workers.repository import host_check
from workers.repository.git import Git, GitFailed
from workers.repository.git_config import CONFIG
from workers.repository.host_check import answers
from workers.repository.mirror import Mirror
from workers.repository.remote import Remote


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine needs, these tests go without."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(make_origin(tmp_path / "origin", {"a.txt": "a\n"})) as running:
        yield running


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """It knows names that no resolver knows, so whatever is reached by them was pinned."""
    names = (("forge.example", "127.0.0.1"), ("cloud.example", "169.254.169.254"), ("ssh.example", "93.184.216.34"))
    return make_host(tmp_path / "host", resolve=names, allowed_protocols=("http", "ssh"), allow_private_addresses=True)


def obtain(host: Host, url: str) -> str:
    job = make_job(url, credential=TOKEN)
    return Mirror(host, job.site_id, job.lifeline).obtain_base(job).sha


def refused(host: Host, url: str) -> EngineError:
    with pytest.raises(EngineError) as caught:
        obtain(host, url)
    return caught.value


def named(server: Server) -> str:
    return server.url.replace("127.0.0.1", "Forge.example")


def test_a_fetch_goes_to_the_address_that_was_judged(host: Host, server: Server) -> None:
    assert obtain(host, named(server)) == git(server.repository, "rev-parse", "HEAD")


def test_a_push_goes_there_too(host: Host, server: Server, tmp_path: Path) -> None:
    commit_all(make_origin(tmp_path / "local", {"b.txt": "b\n"}))
    remote = Remote(named(server), TOKEN, host)
    with contextlib.suppress(GitFailed):
        Git(tmp_path / "local" / ".git").run("push", "--", remote.url, "HEAD:refs/heads/new", access=remote.access)
    assert "/repository.git/info/refs?service=git-receive-pack" in server.asked


def test_git_gets_the_ascii_form_of_a_host(host: Host, server: Server) -> None:
    """It would convert the name by rules of its own, and resolve the result again."""
    names = dataclasses.replace(host, resolve=(("xn--bcher-kva.example", "127.0.0.1"),))
    url = f"http://B\u00dccher.example:{server.server_port}/repository.git"
    assert obtain(names, url) == git(server.repository, "rev-parse", "HEAD")
    ssh = Remote("git@b\u00fccher.example:b\u00fccher.git", None, names)
    assert ssh.url == "git@xn--bcher-kva.example:b\u00fccher.git"


def test_an_address_of_version_6_is_pinned_too(host: Host) -> None:
    asked: list[bytes] = []

    def take(connection: socket.socket) -> None:
        with connection:
            asked.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    try:
        listener = Listener(take, "::1")
    except OSError:
        pytest.skip("NOT TESTED: no IPv6 on this machine; allow it with `sysctl net.ipv6.conf.lo.disable_ipv6=0`")
    with listener:
        names = dataclasses.replace(host, resolve=(("six.example", "::1"),))
        refused(names, f"http://six.example:{listener.port}/x.git")
    assert any(b"Host: six.example:" in each for each in asked)


@pytest.mark.parametrize("scheme", ["http", "ssh"])
def test_a_port_of_zero_is_refused(host: Host, scheme: str) -> None:
    """Git takes it for the port of the protocol, for which nothing is pinned."""
    assert refused(host, f"{scheme}://forge.example:0/x.git").code == "repository_refused"


def test_a_name_that_leads_inside_is_refused_before_anything_is_asked(host: Host, server: Server) -> None:
    closed = dataclasses.replace(host, allow_private_addresses=False)
    error = refused(closed, named(server))
    assert (error.code, error.stage) == ("repository_refused", "checkout")
    assert "private address" in error.message
    assert server.asked == []


@pytest.mark.parametrize(
    "place",
    [
        *(
            "127.0.0.1",
            "localhost",
            "0x7f.1",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
        ),
        *("localhost.", "moved.example.", "LOCALHOST", "169.254.169.254", "10.0.0.1", "[fd00:ec2::254]"),
    ],
)
def test_no_spelling_of_an_inner_address_gets_past(host: Host, server: Server, place: str) -> None:
    closed = dataclasses.replace(host, allow_private_addresses=False)
    assert refused(closed, f"http://{place}:{server.server_port}/repository.git").code == "repository_refused"
    assert refused(closed, f"ssh://git@{place}:{server.server_port}/repository.git").code == "repository_refused"
    assert server.asked == []


def test_the_metadata_of_a_cloud_is_refused_whatever_is_set(host: Host) -> None:
    for url in ("http://cloud.example/x.git", "http://169.254.169.254/x.git", "git@cloud.example:x.git"):
        assert refused(host, url).code == "repository_refused"


def test_a_name_that_there_is_not_may_be_there_later(host: Host) -> None:
    error = refused(host, "http://nowhere.invalid/x.git")
    assert (error.code, error.retryable) == ("repository_unreachable", True)


@pytest.mark.parametrize(
    ("url", "alias"),
    [
        ("ssh://git@ssh.example/x.git", "ssh.example"),
        ("git@ssh.example:x.git", "ssh.example"),
        ("ssh://git@ssh.example:2222/x.git", "[ssh.example]:2222"),
    ],
)
def test_ssh_connects_to_the_address_and_asks_for_the_key_of_the_name(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, alias: str
) -> None:
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\nexit 255\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    refused(dataclasses.replace(host, allow_private_addresses=False), url)
    called = (tmp_path / "called").read_text()
    assert "-oHostName=93.184.216.34" in called and f"-oHostKeyAlias={alias}" in called


def test_a_proxy_of_the_operators_looks_names_up_by_itself(
    host: Host, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses are judged all the same."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
    closed = dataclasses.replace(host, allow_private_addresses=False)
    refused(closed, "http://nowhere.invalid/repository.git")
    assert any(path.startswith("http://nowhere.invalid/repository.git/info/refs") for path in server.asked)
    assert refused(closed, "http://127.0.0.1/repository.git").code == "repository_refused"


def test_the_token_goes_to_no_inner_address_of_a_forge(host: Host, server: Server) -> None:
    change = Change("Ada", "ada@example.org", 0, "message", lambda: iter([b""]))
    job = PublishJob(
        site_id="site",
        repo_url="http://forge.example/acme/x.git",
        base_sha=None,
        branch="new",
        base_branch="main",
        changes=(change,),
        last=change,
        lifeline=Lifeline(600),
        on_push=lambda sha: None,
        pull_request=PullRequestSpec(
            "github", f"http://127.0.0.1:{server.server_port}", "main", "title", "body", number=1, token=TOKEN
        ),
        credential=TOKEN,
        secrets=Secrets(TOKEN),
    )
    with pytest.raises(EngineError) as caught:
        publish(job, dataclasses.replace(host, allow_private_addresses=False))
    assert (caught.value.code, caught.value.stage) == ("repository_refused", "publish")
    assert server.asked == []


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_server_that_takes_connections_and_keeps_silent_holds_a_worker_for_seconds(
    host: Host, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_check, "ANSWER_SECONDS", 0.5)
    monkeypatch.setitem(CONFIG, "http.lowSpeedTime", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{scheme}://forge.example:{silent.getsockname()[1]}/x.git"
        # Git itself waits five minutes for the answer to its greeting.
        error = refused(dataclasses.replace(host, allowed_protocols=("https", "http")), address)
    assert (error.code, error.retryable) == ("repository_unreachable", True)
    assert scheme == "http" or "did not answer within" in error.message


def test_only_a_fetch_that_follows_none_or_a_failed_one_asks_whether_the_server_answers(
    host: Host, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Remote, "check_answers", lambda remote: asked.append(remote.url))
    assert obtain(host, named(server)) and obtain(host, named(server)) and len(asked) == 1


def test_a_stop_while_it_asks_whether_the_server_answers_leaves_no_connection() -> None:
    main = threading.main_thread().ident
    assert main is not None

    def serve() -> None:
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)
            signal.pthread_kill(main, signal.SIGUSR1)
            while chunk := connection.recv(1 << 16):
                received.append(chunk)
        closed.set()

    def stop(*_: object) -> None:
        raise SystemExit

    received: list[bytes] = []
    closed = threading.Event()
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            threading.Thread(target=serve, daemon=True).start()
            # What is caught keeps the frames alive, and what they hold.
            with pytest.raises(SystemExit) as caught:
                answers("forge.example", ["127.0.0.1"], silent.getsockname()[1], is_encrypted=True)
            assert closed.wait(300), "the connection stayed open"
        assert caught.value
    finally:
        signal.signal(signal.SIGUSR1, before)
