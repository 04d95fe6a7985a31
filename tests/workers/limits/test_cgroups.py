"""Control groups: the kernel's own where this machine lets us make some, and version 2 from files that look like it."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.workers.attempts import code, engine_in
from tests.workers.engine import eventually, finish, linux, sandbox_in
from workers import discard_workspaces
from workers.job import Host, Limits
from workers.limits.cgroups import GroupParents, find_parents, open_group
from workers.limits.git_group import GitGroup
from workers.limits.git_limits import GitLimits
from workers.processes.launch import Launch, prepare

pytestmark = linux
needs_groups = pytest.mark.skipif(
    len(find_parents().folders) < 3,
    reason="NOT TESTED: no control groups can be made; run as root, or in a unit with Delegate=yes",
)


def folders_of(name: str) -> list[Path]:
    return [folder / name for folder in find_parents().folders.values()]


@needs_groups
def test_the_kernel_counts_what_a_command_makes() -> None:
    group = open_group("test-counts", Limits(max_processes=5))
    assert group
    try:
        script = "cat /proc/self/cgroup; for n in 1 2 3 4 5 6; do sleep 0.5 & done; wait"
        ran = finish(Launch(["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, "/"), groups=group.procs_files)
        assert "test-counts" in ran.out
        assert "fork" in ran.err
        assert group.refused_processes() > 0
        assert group.oom_kills() == 0
    finally:
        group.remove()
    assert not any(folder.exists() for folder in folders_of("test-counts"))


@needs_groups
def test_an_attempt_leaves_no_group_behind(tmp_path: Path) -> None:
    with engine_in(tmp_path, "none") as engine:
        job = engine.job("grep agent-runners /proc/self/cgroup", session_id="test-attempt")
        attempt = engine.finish(job)
    assert code(attempt.outcome) is None
    assert "test-attempt-1" in str(attempt.outcome.result)
    assert not any(folder.exists() for folder in folders_of("test-attempt-1"))


@needs_groups
@pytest.mark.parametrize("is_running", [True, False])
def test_a_group_goes_with_a_worker_that_dies_before_its_first_command(is_running: bool) -> None:
    group = open_group("test-unused", Limits())
    assert group
    prepared = prepare(group.procs_files)
    if is_running:
        eventually(lambda: Path(group.procs_files[0]).read_text() != "", "nothing joined it")
        assert prepared.pid
    prepared.connection.close()
    eventually(lambda: not any(folder.exists() for folder in folders_of("test-unused")), "it stayed")


@needs_groups
def test_what_a_dead_worker_left_is_swept_with_its_processes(tmp_path: Path) -> None:
    group = open_group("test-dead-1", Limits())
    assert group
    with subprocess.Popen(["sleep", "300"]) as left:
        for entrance in group.procs_files:
            Path(entrance).write_text(str(left.pid))
        discard_workspaces(Host(tmp_path), [tmp_path / "workspaces" / "test-dead-1"])
        assert left.wait() == -9
    assert not any(folder.exists() for folder in folders_of("test-dead-1"))


@needs_groups
def test_the_empty_group_of_a_dead_workers_git_goes_with_the_next_one() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = [f"git-{dead.pid}-1", f"git-{os.getpid()}-1"]
    for folder in map(Path, itertools.chain.from_iterable(map(folders_of, names))):
        folder.mkdir()
    try:
        with GitGroup(GitLimits()) as group, subprocess.Popen(["sleep", "300"]) as command:
            time.sleep(0.3)
            group.watch(command.pid)
            assert f"/agent-runners/git-{os.getpid()}-" in Path(f"/proc/{command.pid}/cgroup").read_text()
            command.kill()
        assert not any(folder.exists() for folder in folders_of(names[0]))
        assert all(folder.exists() for folder in folders_of(names[1]))
    finally:
        for folder in folders_of(names[1]):
            folder.rmdir()


@needs_groups
def test_processors_are_limited(tmp_path: Path) -> None:
    group = open_group("test-processors", Limits(max_cpus=0.2))
    assert group
    try:
        script = (
            "import time; end = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
        )
        launch = sandbox_in(tmp_path, "none").launch(["python3", "-c", script], {})
        ran = finish(launch, groups=group.procs_files)
        assert float(ran.out) < 1
    finally:
        group.remove()


def delegated(tmp_path: Path, own: str, *, parent: str) -> Path:
    """What /proc/self shows of a tree of version 2 in which `parent` has all controllers; gives its folder."""
    mount = tmp_path / "cgroup"
    (mount / parent).mkdir(parents=True)
    (mount / parent / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mounts").write_text(f"cgroup2 {mount} cgroup2 rw,nosuid 0 0\n")
    (tmp_path / "self" / "cgroup").write_text(f"0::{own}\n")
    return mount / parent


@pytest.mark.parametrize(
    ("own", "parent"),
    [
        pytest.param("/system.slice/worker.service/worker", "system.slice/worker.service", id="delegated"),
        pytest.param("/user.slice/session-1.scope", ".", id="root"),
    ],
)
def test_a_delegated_subtree_of_version_2_is_used(tmp_path: Path, own: str, parent: str) -> None:
    folder = delegated(tmp_path, own, parent=parent)
    parents = find_parents(tmp_path / "self")
    assert parents == GroupParents(dict.fromkeys(("memory", "pids", "cpu"), folder / "agent-runners"), 2)
    assert (folder / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    group = open_group("one-1", Limits(max_memory_bytes=1 << 30, max_processes=7, max_cpus=1.5), parents)
    assert group
    made = folder / "agent-runners" / "one-1"
    names = ("memory.max", "memory.swap.max", "pids.max", "cpu.max")
    assert [(made / name).read_text() for name in names] == [str(1 << 30), "0", "7", "150000 100000"]
    assert group.procs_files == [str(made / "cgroup.procs")]
    assert not (made / "cpu.weight").exists()
    assert open_group("git-1", Limits(), parents, comes_first=True)
    assert (made.with_name("git-1") / "cpu.weight").read_text() == "1000"
    (made / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n")
    (made / "pids.events").write_text("max 4\n")
    assert (group.oom_kills(), group.refused_processes()) == (2, 4)


def test_without_any_place_there_is_no_group(tmp_path: Path) -> None:
    assert find_parents(tmp_path) == GroupParents({}, 1)
    assert open_group("one-1", Limits(), find_parents(tmp_path)) is None
