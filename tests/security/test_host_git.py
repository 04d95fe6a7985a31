"""What a repository, a remote or a diff makes git on the host do: all of it is bounded, and ends with a reason."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import os
import re
import threading
import tracemalloc
import zlib
from base64 import b85encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.deployment import processes_with, wait_for
from tests.security.test_hostile_repositories import blob, commit, tree
from tests.workers.attempts import Attempt, Engine, code, engine_in
from tests.workers.engine import SANDBOXES
from tests.workers.git_versions import SLOW_PATTERN, SLOW_PATTERNS
from tests.workers.limits.test_cgroups import needs_groups
from tests.workers.repositories import commit_all, git, make_job
from workers.errors import EngineError
from workers.events import Step
from workers.job import Limits
from workers.limits.cgroups import find_parents
from workers.limits.git_limits import GitLimits
from workers.processes.lifeline import Lifeline
from workers.repository.fetch import MOST_LISTED
from workers.repository.git import Git, OverLimit
from workers.repository.mirror import Mirror

MEGABYTE = 1024**2


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, getattr(request, "param", "none"), (("file", "one\n"), ("large", "x" * MEGABYTE))) as made:
        yield made


# What a repository becomes


def test_a_small_repository_with_countless_files_is_not_checked_out(engine: Engine) -> None:
    """Six trees name a file a million times."""
    top = tree(engine.source, ("100644", "f", blob(engine.source, "")))
    for _ in range(6):
        top = tree(engine.source, *(("40000", str(number), top) for number in range(10)))
    commit(engine.source, top)
    attempt = engine.run("true", limits=Limits(max_disk_files=500))
    assert code(attempt.outcome) == ("file_limit", "checkout")
    assert "500" in attempt.text
    assert not list(engine.host.work_dir.glob("bases/*/*/index"))


def test_a_small_pack_with_huge_files_is_not_checked_out(engine: Engine) -> None:
    content = blob(engine.source, "0" * MEGABYTE)
    commit(engine.source, tree(engine.source, *(("100644", f"{number:03}", content) for number in range(50))))
    attempt = engine.run("true", limits=Limits(max_disk_bytes=20 * MEGABYTE))
    assert code(attempt.outcome) == ("disk_limit", "checkout")
    assert not list(engine.host.work_dir.glob("bases/*/*/index"))


def test_what_is_within_the_limits_is_checked_out(engine: Engine) -> None:
    limits = Limits(max_disk_bytes=20 * MEGABYTE, max_disk_files=500)
    assert engine.run("echo two > file", limits=limits).outcome.failure is None
    assert "+two" in engine.diff


# What a diff becomes


def start_from(engine: Engine, diff: bytes, **limits: int) -> Attempt:
    return engine.run("true", start_diff=lambda: iter([diff]), limits=Limits(**limits))


def binary(kind: str, declared: int, content: bytes) -> bytes:
    packed = zlib.compress(content, 9)
    lines = [packed[at : at + 52] for at in range(0, len(packed), 52)]
    head = (
        "diff --git a/new b/new\nnew file mode 100644\n"
        f"index {'0' * 40}..{'1' * 40}\nGIT binary patch\n{kind} {declared}\n"
    )
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    body = b"".join(letters[len(line) - 1 : len(line)] + b85encode(line, pad=True) + b"\n" for line in lines)
    return head.encode() + body + b"\nliteral 0\nHcmV?d00001\n\n"


def test_a_few_bytes_that_become_a_huge_binary_file_are_refused(engine: Engine) -> None:
    diff = binary("literal", 30 * MEGABYTE, bytes(30 * MEGABYTE))
    assert len(diff) < 100_000
    attempt = start_from(engine, diff, max_disk_bytes=10 * MEGABYTE)
    assert code(attempt.outcome) == ("diff_too_large", "checkout")
    assert "binary files" in attempt.text


def test_a_delta_that_says_little_and_becomes_much_is_refused(engine: Engine) -> None:
    """Each `copy` of a delta repeats up to 16 MiB of the old file."""
    delta = b"\x80\x80\x40" + b"\x80\x80\x80\x10" + b"\xf0\xff\xff\xff" * 32
    attempt = start_from(engine, binary("delta", len(delta), delta), max_disk_bytes=10 * MEGABYTE)
    assert code(attempt.outcome) == ("diff_too_large", "checkout")


def test_copies_of_a_file_count_though_they_take_no_line(engine: Engine) -> None:
    part = "diff --git a/large b/{0}\nsimilarity index 100%\ncopy from large\ncopy to {0}\n"
    diff = "".join(part.format(f"copy-{number}") for number in range(30)).encode()
    attempt = start_from(engine, diff, max_disk_bytes=10 * MEGABYTE)
    assert code(attempt.outcome) == ("disk_limit", "checkout")


def test_git_has_no_more_memory_for_a_diff_than_its_limit(engine: Engine) -> None:
    engine.host = dataclasses.replace(engine.host, max_git_memory_bytes=24 * MEGABYTE)
    attempt = start_from(engine, binary("literal", 100 * MEGABYTE, bytes(100 * MEGABYTE)))
    assert code(attempt.outcome) == ("diff_too_large", "checkout")


# What a remote sends


def test_a_fetch_ends_at_its_size(engine: Engine) -> None:
    (engine.source / "random").write_bytes(os.urandom(4 * MEGABYTE))
    git(engine.source, "add", "random")
    git(engine.source, "commit", "--quiet", "--message", "much")
    engine.host = dataclasses.replace(engine.host, max_fetch_bytes=MEGABYTE)
    attempt = engine.run("true")
    assert code(attempt.outcome) == ("repository_too_large", "checkout")
    assert "AGENT_RUNNERS_MAX_FETCH_BYTES" in attempt.text
    assert not list(engine.host.work_dir.glob("mirrors/*/objects/pack/*"))


class _Endless(http.server.BaseHTTPRequestHandler):
    """A server whose list of branches has no end."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.end_headers()
        line = f"{'1' * 40} refs/heads/{'x' * 900}\n".encode()
        lines = (b"%04x" % (len(line) + 4) + line) * 1000
        with contextlib.suppress(OSError):
            self.wfile.write(b"001e# service=git-upload-pack\n0000")
            for _ in range(2000):
                self.wfile.write(lines)

    def log_message(self, *_: object) -> None:
        pass


def test_a_list_of_branches_without_an_end_takes_no_more_memory_than_the_limit(engine: Engine) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        engine.host = dataclasses.replace(
            engine.host, max_git_memory_bytes=48 * MEGABYTE, allowed_protocols=("http",), allow_private_addresses=True
        )
        attempt = engine.run("true", repo_url=f"http://127.0.0.1:{server.server_port}/x.git")
        server.shutdown()
    assert code(attempt.outcome) == ("repository_too_large", "checkout"), attempt.text


def test_many_branches_take_no_memory_of_the_worker(engine: Engine) -> None:
    """The command that lists them has limits, and the worker reads no more than it needs."""
    tip = git(engine.source, "rev-parse", "HEAD")
    refs = sorted(["refs/heads/main", *(f"refs/heads/x/{number:0100}" for number in range(150_000))])
    packed = "".join(f"{tip} {ref}\n" for ref in refs)
    (engine.source / ".git" / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{packed}")
    mirror = Mirror(engine.host, "site", Lifeline(600))
    wanted = make_job(engine.source)
    tracemalloc.start()
    try:
        assert mirror.refresh(wanted) == tip
        assert len(mirror.list_branches(wanted) or []) == MOST_LISTED
        with pytest.raises(EngineError, match=r"no branch named gone\. Its default branch is main\.") as caught:
            mirror.refresh(dataclasses.replace(wanted, branch="gone"))
        assert caught.value.code == "branch_not_found"
        assert tracemalloc.get_traced_memory()[1] < 16 * MEGABYTE
    finally:
        tracemalloc.stop()


class _Slow(http.server.BaseHTTPRequestHandler):
    """A server that answers when git, which asks it, is in a control group of its own."""

    groups: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        url = f"http://127.0.0.1:{self.connection.getsockname()[1]}/x.git"
        wait_for("a group of its own for git", lambda: all(map(own_group, processes_with(url))))
        self.groups += map(own_group, processes_with(url))
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def own_group(pid: int) -> str:
    """The control group of git that the process is in; empty if it is in none."""
    found = re.search(r"/agent-runners/(git-.*)", Path(f"/proc/{pid}/cgroup").read_text())
    return found[1] if found else ""


@needs_groups
def test_git_that_waits_for_a_slow_remote_is_in_a_control_group(engine: Engine) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        engine.host = dataclasses.replace(engine.host, allowed_protocols=("http",), allow_private_addresses=True)
        attempt = engine.run("true", repo_url=f"http://127.0.0.1:{server.server_port}/x.git")
        server.shutdown()
    assert code(attempt.outcome) == ("repository_unreachable", "checkout"), attempt.text
    # One for the command, which is in it with the processes that it started, and none is left.
    assert len(_Slow.groups) > 1 and len(set(_Slow.groups)) == 1
    assert not any((parent / _Slow.groups[0]).exists() for parent in find_parents().folders.values())


# What an agent leaves


DEEP = "d=.; for i in $(seq 60); do d=$d/a; done; mkdir -p $d; touch $d/b"


def write_slow(attributes: str, file: str) -> str:
    """A script that adds patterns with these attributes which keep git busy for long."""
    return f"yes '{SLOW_PATTERN}{attributes}' | head -n {SLOW_PATTERNS} >> {file}"


@pytest.fixture
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that keep a processor busy end after a second."""
    monkeypatch.setattr("workers.workspace.staging._LEAST_CPU_SECONDS", 1)
    monkeypatch.setattr("workers.workspace.staging._BYTES_A_SECOND", 10**12)
    monkeypatch.setattr("workers.workspace.diffs._CPU_SECONDS", 1)
    monkeypatch.setattr("workers.lfs.attributes._CPU_SECONDS", 1)


def messages(attempt: Attempt) -> dict[str, str]:
    return {event.title: event.message for event in attempt.events if isinstance(event, Step)}


WORK = "echo two >> file; mkdir new; echo new > new/file; echo log > ignored.log\n"


@pytest.mark.usefixtures("little_time")
@pytest.mark.parametrize("rules", [".gitignore", ".gitattributes"])
@pytest.mark.parametrize("engine", ["none", *SANDBOXES[:1]], indirect=True)
def test_rules_that_take_for_ever_cost_no_other_work(engine: Engine, rules: str) -> None:
    (engine.source / ".gitignore").write_text("*.log\n")
    (engine.source / ".gitattributes").write_text("*.sh text\n")
    commit_all(engine.source)
    attempt = engine.run(f"{WORK}{DEEP}; {write_slow(' foo', rules)}; {write_slow('', '.gitignore')}")
    assert code(attempt.outcome) == ("snapshot_failed", "diff")
    assert ".gitignore" in attempt.text
    assert "+two" in engine.diff and "+new" in engine.diff and "/a/b" in engine.diff
    assert "ignored.log" not in engine.diff and ".gitignore" not in engine.diff and ".gitattributes" not in engine.diff
    assert "in time" in messages(attempt)["Left out of the diff"]
    assert not processes_with(f"--git-dir={engine.host.work_dir}"), "git goes on"


@pytest.mark.usefixtures("little_time")
def test_rules_of_the_repository_that_take_for_ever_cost_new_files_at_most(engine: Engine) -> None:
    (engine.source / ".gitignore").write_text(f"{SLOW_PATTERN}\n" * SLOW_PATTERNS)
    (engine.source / ".gitattributes").write_text(f"{SLOW_PATTERN} filter=lfs\n" * SLOW_PATTERNS)
    commit_all(engine.source)
    attempt = engine.run(WORK + DEEP)
    assert code(attempt.outcome) == ("snapshot_failed", "diff")
    assert "+two" in engine.diff and "new" not in engine.diff
    assert "all new files" in messages(attempt)["Left out of the diff"]


def test_a_stop_is_no_way_to_let_them_run_on(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.workspace.workspace._SAVING_SECONDS", 0.5)

    def stop(event: object) -> None:
        if isinstance(event, Step) and event.title == "ready":
            work.lifeline.cut()

    work = engine.job(f"{DEEP}; {write_slow('', '.gitignore')}\necho ready; sleep 100")
    assert engine.finish(work, stop).outcome.interrupted
    assert not processes_with(f"--git-dir={engine.host.work_dir}"), "git goes on"


# What every command gets


@pytest.fixture
def replace_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have a shell script run in the place of git."""

    def replace(script: str) -> None:
        program = tmp_path / "programs" / "git"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return replace


@needs_groups
def test_processes_of_git_have_no_more_memory_together_than_one_of_them(
    tmp_path: Path, replace_git: Callable[[str], None]
) -> None:
    in_group = "until grep -q /agent-runners/git- /proc/$$/cgroup; do sleep 0.05; done\n"
    replace_git(in_group + "for n in 1 2 3 4; do head -c 40M /dev/zero | tail & done; wait; exit 1")
    with pytest.raises(OverLimit, match=r"100,663,296 bytes of memory"):
        Git(tmp_path, limits=GitLimits(memory_bytes=96 * MEGABYTE)).run("x")


def test_every_git_command_has_limits_and_a_low_priority(tmp_path: Path, replace_git: Callable[[str], None]) -> None:
    replace_git("sleep 0.3\ncat /proc/$$/limits\nnice")
    printed = Git(tmp_path, limits=GitLimits(memory_bytes=64 * MEGABYTE, disk_bytes=16 * MEGABYTE)).run("x").decode()
    assert re.search(rf"^Max data size +{64 * MEGABYTE} +{64 * MEGABYTE} ", printed, re.MULTILINE)
    assert re.search(rf"^Max file size +{18 * MEGABYTE} +{18 * MEGABYTE} ", printed, re.MULTILINE)
    assert int(printed.split()[-1]) >= 5
