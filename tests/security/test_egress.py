"""What an agent in a real sandbox can reach: allowed hosts through the proxy, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.processes import forked_for
from tests.security.ordinary_user import needs_root, run_again
from tests.security.outside import Outside, python, web_server
from tests.workers.attempts import Attempt, Engine, engine_in
from tests.workers.engine import (
    IS_ROOT,
    ROOT,
    Ran,
    eventually,
    finish,
    folders,
    linux,
    needs_bubblewrap,
    sigterm_once,
    sigterm_raises,
)
from workers.egress.process import open_egress
from workers.egress.rules import Rule
from workers.events import Event, Refusal, Step
from workers.job import Host, Limits
from workers.sandbox import open_sandbox

pytestmark = [linux, needs_bubblewrap]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A host with two names that resolve to this machine, like the names of private services."""
    with engine_in(tmp_path, "bubblewrap") as made:
        names = (("allowed.example", "127.0.0.1"), ("inner.example", "127.0.0.1"), ("cloud.example", "169.254.169.254"))
        made.host = replace(made.host, resolve=names, allow_private_addresses=True)
        yield made


@pytest.fixture
def outside() -> Iterator[Outside]:
    with web_server() as running:
        yield running


def refusals(attempt: Attempt) -> dict[str, str]:
    """The refused targets, with the reasons."""
    found = [event for event in attempt.events if isinstance(event, Refusal)]
    return {event.title.removeprefix("Network: ").split(" was refused")[0]: event.message for event in found}


def test_an_allowed_host_is_reached_by_its_name(engine: Engine, outside: Outside) -> None:
    url = f"http://allowed.example:{outside.port}/some/path?query=1"
    attempt = engine.run(
        python(f"""
            print(urllib.request.urlopen("{url}", b"a body").read().decode())
            tunnel, answer = connect("allowed.example:{outside.port}")
            assert b" 200 " in answer, answer
            tunnel.sendall(b"GET /tunnelled HTTP/1.1\\r\\nHost: inside\\r\\nConnection: close\\r\\n\\r\\n")
            print(tunnel.makefile().read())
        """),
        egress_hosts=(f"ALLOWED.example:{outside.port}",),
    )
    assert attempt.outcome.failure is None, attempt.text
    assert attempt.text.count("hello from outside") >= 2
    assert outside.asked == [
        (f"allowed.example:{outside.port}", "/some/path?query=1", b"a body"),
        ("inside", "/tunnelled", b""),
    ]
    assert refusals(attempt) == {}


def test_git_and_curl_find_the_proxy_by_themselves(engine: Engine, outside: Outside) -> None:
    base = f"http://allowed.example:{outside.port}"
    attempt = engine.run(
        f"git ls-remote {base}/repository.git || true; curl -sS {base}/curled",
        egress_hosts=(f"*.example:{outside.port}",),
    )
    assert [path.split("?")[0] for _, path, _ in outside.asked] == ["/repository.git/info/refs", "/curled"]
    assert refusals(attempt) == {}


def test_everything_else_is_refused_and_reported(engine: Engine, outside: Outside) -> None:
    targets = {
        "another.example:443": "not among the allowed",
        "below.allowed.example:443": "not among the allowed",
        "93.184.216.34:443": "not among the allowed",
        f"127.0.0.1:{outside.port}": "not among the allowed",
        f"localhost:{outside.port}": "not among the allowed",
        "169.254.169.254:80": "not among the allowed",
        "[fd00:ec2::254]:80": "not among the allowed",
        f"[::ffff:127.0.0.1]:{outside.port}": "not among the allowed",
        f"0x7f.1:{outside.port}": "not among the allowed",
        f"2130706433:{outside.port}": "not among the allowed",
        "allowed.example:22": "Port 22",
        "cloud.example:80": "metadata",
    }
    attempt = engine.run(
        python(f"for target in {[*targets, 'user@allowed.example:443']}: refused(target)"),
        egress_hosts=("allowed.example", "cloud.example"),
    )
    reported = refusals(attempt)
    assert "no valid host" in reported["a malformed request"]
    # An address has one spelling in what is reported.
    reported = {name.replace("::ffff:7f00:1", "::ffff:127.0.0.1"): reason for name, reason in reported.items()}
    assert {name: reason in reported.get(name, "") for name, reason in targets.items()} == dict.fromkeys(
        targets, True
    ), reported
    assert attempt.text.count(" 403") >= len(targets)
    assert outside.asked == []


def test_only_the_operator_can_allow_private_addresses(engine: Engine, outside: Outside) -> None:
    """A site's rule does not allow them, the operator's does, and no rule allows cloud metadata."""
    script = python(f"refused('inner.example:{outside.port}'); refused('cloud.example:80')")
    engine.host = replace(engine.host, allow_private_addresses=False)
    attempt = engine.run(script, egress_hosts=(f"inner.example:{outside.port}", "cloud.example"))
    assert "private" in refusals(attempt)[f"inner.example:{outside.port}"]
    engine.host = replace(engine.host, egress_hosts=(f"inner.example:{outside.port}", "cloud.example"))
    attempt = engine.run(script)
    assert f"asked for inner.example:{outside.port} 200" in attempt.text
    assert set(refusals(attempt)) == {"cloud.example:80"}


def test_there_is_no_way_around_the_proxy(engine: Engine) -> None:
    """No address, datagram or name, nor this machine's loopback or abstract sockets."""
    with (
        socket.create_server(("127.0.0.1", 0)) as service,
        socket.socket(socket.AF_UNIX) as hidden,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        hidden.bind(f"\0agent-runners-test-{os.getpid()}")
        hidden.listen()
        datagrams.bind(("127.0.0.1", 0))
        attempt = engine.run(
            python(f"""
                def fails(what, action):
                    try:
                        action()
                    except OSError as error:
                        print(what, "failed:", error, flush=True)
                    else:
                        sys.exit(f"{{what}} worked")

                def datagram(address):
                    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    sender.connect(address)
                    sender.send(b"x")
                    sender.settimeout(5)
                    sender.recv(1)

                def unix():
                    socket.socket(socket.AF_UNIX).connect("\\0agent-runners-test-{os.getpid()}")

                fails("address", lambda: socket.create_connection(("93.184.216.34", 443), 5))
                fails("metadata", lambda: socket.create_connection(("169.254.169.254", 80), 5))
                fails("loopback", lambda: socket.create_connection(("127.0.0.1", {service.getsockname()[1]}), 5))
                fails("name", lambda: socket.getaddrinfo("example.com", 443))
                fails("dns", lambda: datagram(("9.9.9.9", 53)))
                fails("udp", lambda: datagram(("127.0.0.1", {datagrams.getsockname()[1]})))
                fails("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
                fails("unix", unix)
                assert [name for _, name in socket.if_nameindex()] == ["lo"]
            """)
        )
        assert attempt.outcome.failure is None, attempt.text
        service.settimeout(0.2)
        with pytest.raises(TimeoutError):
            service.accept()


def test_a_redirect_to_a_private_address_is_checked_like_any_request(engine: Engine, outside: Outside) -> None:
    with web_server() as inner:
        outside.redirect = f"http://127.0.0.1:{inner.port}/secrets"
        attempt = engine.run(
            f"curl -sS -L http://allowed.example:{outside.port}/redirect || true; "
            # NO_PROXY makes curl connect to loopback addresses directly. A program that ignores it is refused.
            f"NO_PROXY= no_proxy= curl -sS -L http://allowed.example:{outside.port}/redirect",
            egress_hosts=(f"allowed.example:{outside.port}",),
        )
        assert inner.asked == []
    assert set(refusals(attempt)) == {f"127.0.0.1:{inner.port}"}


def test_the_setup_command_does_not_reach_the_model(tmp_path: Path, outside: Outside) -> None:
    model = f"127.0.0.1:{outside.port}"
    with closing(open_egress(Host(tmp_path), {"setup": [], "agent": [Rule.parse(model, private=True)]})) as egress:
        host = Host(tmp_path)
        sandbox = open_sandbox(host, folders(tmp_path / "w", host.sandbox_uid if IS_ROOT else None), Limits(), egress)

        def ask(stage: str) -> Ran:
            command = ["sh", "-c", python(f"refused('{model}')") + "env"]
            return finish(sandbox.launch(command, {}, stage="setup" if stage == "setup" else "agent"))

        assert f"asked for {model} 403" in ask("setup").out
        assert f"asked for {model} 200" in ask("agent").out
        assert "127.0.0.1" in egress.variables("setup")["NO_PROXY"]
        assert "127.0.0.1" not in egress.variables("agent")["NO_PROXY"]


def test_many_refusals_are_reported_in_few_steps(engine: Engine) -> None:
    attempt = engine.run(
        python("""
            for number in range(300):
                connect(f"host-{number}.example:443")
            for again in range(50):
                connect("host-1.example:443")
        """)
    )
    reported = [event for event in attempt.events if isinstance(event, Refusal)]
    assert 100 < len(reported) <= 110
    assert sum(event.times for event in reported) == 350
    assert any("50 more times" in event.title for event in reported)


def test_unread_refusals_are_reported_at_the_end(tmp_path: Path) -> None:
    """There are more than a pipe holds."""
    with (
        closing(open_egress(Host(tmp_path), {"setup": []})) as egress,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(fileno=os.dup(egress.channel)) as channel,
    ):
        socket.send_fds(channel, [b"setup"], [listener.fileno()])
        for number in range(240):
            with socket.create_connection(listener.getsockname(), 20) as client:
                name = f"{number % 120}.{'long.' * 60}"
                client.sendall(f"CONNECT {name}example:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert b" 403 " in client.recv(100)
        assert sum(refusal.times for refusal in egress.finish()) == 240


def proxies() -> list[psutil.Process]:
    """The running proxies of this process."""
    found = []
    for pid in forked_for([os.getpid()], "egress-proxy"):
        # It may end meanwhile.
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def test_the_proxy_holds_no_secrets_or_privileges(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "canary-of-the-worker")
    seen: list[psutil.Process] = []

    def look(event: Event) -> None:
        # Before the agent says something the proxy may still be starting.
        for proxy in proxies() if isinstance(event, Step) and event.title in ("one", "two") else ():
            seen.append(proxy)
            assert set(proxy.environ()) <= {"LD_LIBRARY_PATH", "LC_CTYPE"}
            assert "canary" not in " ".join(proxy.cmdline())
            assert proxy.cwd() == "/"
            kinds = [os.readlink(file).split(":")[0] for file in Path(f"/proc/{proxy.pid}/fd").iterdir()]
            assert set(kinds) <= {"pipe", "socket", "/dev/null"}
            if IS_ROOT:
                eventually(lambda: set(proxies()[0].uids()) == {engine.host.sandbox_uid}, "it stayed root")
                assert set(proxy.gids()) == {engine.host.sandbox_uid}

    work = engine.job("echo one; sleep 1; echo two", credential="canary-of-the-site", environment={"KEY": "canary-key"})
    engine.finish(work, look)
    assert seen


def test_the_proxy_ends_with_the_attempt(engine: Engine) -> None:
    engine.run("true")
    engine.run("exit 3")
    eventually(lambda: not proxies(), "a proxy outlived its attempt")
    with sigterm_raises():
        waiter = sigterm_once(lambda: bool(list(engine.host.work_dir.glob("workspaces/*/checkout/started"))))
        engine.run("touch started; sleep 300")
        waiter.join()
    eventually(lambda: not proxies(), "a proxy outlived its attempt")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_proxy_ends_with_a_killed_worker(engine: Engine, tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import sys, pathlib; from tests.workers.attempts import engine_in;"
        "engine_in(pathlib.Path(sys.argv[1]), 'bubblewrap').__enter__().run('touch ~/started; sleep 300')"
    )
    (tmp_path / "other").mkdir()
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "other")], cwd=ROOT) as worker:
        started = "other/private/work/workspaces/*/home/started"
        eventually(lambda: bool(list(tmp_path.glob(started))), "it never ran")
        below = psutil.Process(worker.pid).children(recursive=True)
        assert "egress-proxy" in [each.name() for each in below]
        worker.send_signal(number)
    eventually(lambda: not any(each.is_running() for each in below), "something outlived the worker")


def test_the_agent_cannot_access_the_proxys_sockets(engine: Engine) -> None:
    """Neither its listening socket, nor the channel through which that was sent."""
    attempt = engine.run("for fd in /proc/[0-9]*/fd/*; do readlink $fd; done | grep -c socket || true")
    assert attempt.outcome.result == "0"


def test_no_descriptor_of_ours_is_open_inside(tmp_path: Path) -> None:
    """Only the standard streams, and what bubblewrap's own process needs."""
    host = Host(tmp_path)
    with closing(open_egress(host, {"agent": []})) as egress:
        sandbox = open_sandbox(host, folders(tmp_path / "w", host.sandbox_uid if IS_ROOT else None), Limits(), egress)
        ran = finish(sandbox.launch(["sh", "-c", "for fd in /proc/[0-9]*/fd/*; do readlink $fd; done"], {}))
    opened = sorted({each for each in ran.out.split("\n") if not each.startswith("/proc/")})
    assert [each.split(":")[0] for each in opened] == ["/memfd", "anon_inode", "pipe", "pipe"], opened


def test_a_command_whose_proxy_has_ended_is_not_started(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with closing(open_egress(host, {"agent": []})) as egress:
        sandbox = open_sandbox(host, folders(tmp_path / "w", host.sandbox_uid if IS_ROOT else None), Limits(), egress)

        def has_ended() -> bool:
            # It may still be starting, and that of the test before may still be ending.
            for proxy in proxies():
                with contextlib.suppress(psutil.NoSuchProcess):
                    proxy.kill()
            return not egress.is_running()

        eventually(has_ended, "it survived")
        ran = finish(sandbox.launch(["sh", "-c", "echo started"], {}))
    assert (ran.status, ran.out) == (127, "")
    assert "network could not be set up" in ran.err


@needs_root
def test_the_same_holds_for_an_ordinary_user() -> None:
    """All tests above, with a worker that is not root."""
    run_again(__file__)
