"""Sparse checkouts: what a session sees, and that nothing that it does not see is changed or lost."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.matrix import FULL
from tests.workers.repositories import finish, following, git, make_job, make_origin, prepare, stored_diffs, tip_of
from tests.workers.workspace.test_any_change import hosts
from tests.workers.workspace.test_overlay import AGENT, as_agent
from workers.errors import EngineError
from workers.job import Host, Job, Limits
from workers.repository.cone import Cone
from workers.workspace.workspace import Workspace

__all__ = ["hosts"]

FILES: dict[str, str | bytes] = {
    "README": "readme\n",
    "services/README": "services\n",
    "services/shop/a": "a\n",
    "services/shop/deep/b": "b\n",
    "services/bank/c": "c\n",
    "libs/x": "x\n",
    "libs/y/z": "z\n",
    "libs/.gitignore": "*.o\n",
}
SHOP = ("services/shop",)


@pytest.fixture
def origin(hosts: list[Host]) -> Path:
    """For one test, as its name is that of the site, and a checkout that one test leaves is used again by the next."""
    return make_origin(hosts[0].work_dir.parent / str(uuid.uuid4()), FILES)


def job_on(origin: Path, **settings: object) -> Job:
    """The first session of a runner, on the site of the repository."""
    usual = {"base_sha": tip_of(origin), "sparse_paths": SHOP, **settings}
    return make_job(origin, site_id=origin.name, session_id=f"session-{origin.name}", **usual)


def after(job: Job, attempt: int, **settings: object) -> Job:
    return replace(
        following(job, attempt), site_id=job.site_id, session_id=job.session_id, **{"sparse_paths": SHOP, **settings}
    )


def begun(job: Job, host: Host) -> Workspace:
    workspace = prepare(job, host)
    workspace.after_setup(has_run=False)
    return workspace


def in_checkout(workspace: Workspace, script: str) -> str:
    """The output of a script of the agent."""
    output = workspace.root / "output"

    def run(folder: Path) -> None:
        with open(output, "wb") as file:
            subprocess.run(["sh", "-c", script], env=AGENT, stdout=file, stderr=subprocess.STDOUT, check=True)

    as_agent(workspace, run)
    return output.read_text()


def changed(workspace: Workspace, job: Job) -> dict[str, str]:
    """What the session changed, by path, as `git diff --name-status`."""
    tree = finish(workspace, job)
    lines = workspace.git.line("diff-tree", "-r", "--name-status", workspace.base_tree, tree).splitlines()
    return {path: status for status, path in (line.split("\t") for line in lines)}


def session(job: Job, host: Host, script: str) -> tuple[dict[str, str], list[str]]:
    """What a session changed in all since the base, and what it says is not kept."""
    workspace = begun(job, host)
    in_checkout(workspace, script)
    found = changed(workspace, job)
    workspace.dispose()
    return found, [*workspace.left_out, *workspace.notes]


def on_each(hosts: list[Host], origin: Path, act: Callable[[Host, Job], object]) -> object:
    """Do the same on each kind of checkout, with the same result and the same bytes."""
    results = []
    for number, host in enumerate(hosts):
        job = job_on(origin, attempt=number + 1)
        results.append((act(host, job), stored_diffs(job)))
    assert all(result == results[0] for result in results)
    return results[0][0]


def test_only_the_folders_and_the_files_on_the_way_are_there_and_the_agents_git_goes_on_as_a_sparse_one(
    hosts: list[Host], origin: Path
) -> None:
    script = "echo more >> services/shop/a; git commit -qam one; git checkout -qb other; git reset -q --hard HEAD~0; ls"
    script += "; git sparse-checkout add libs; cat libs/x; echo more >> libs/x; git status --short"

    def act(host: Host, job: Job) -> tuple[str, str, str, dict[str, str]]:
        workspace = begun(job, host)
        shown = in_checkout(workspace, "git status --short; git sparse-checkout list; git ls-files -t")
        found = in_checkout(workspace, "find . -path ./.git -prune -o -type f -print | sort")
        assert workspace.snapshot() == workspace.start_tree, "it only looked"
        later = in_checkout(workspace, script)
        work = changed(workspace, job)
        workspace.dispose()
        return shown, found, later, work

    shown, found, later, work = on_each(hosts, origin, act)  # type: ignore[misc]
    assert found.split() == ["./README", "./services/README", "./services/shop/a", "./services/shop/deep/b"]
    first, *listed = shown.splitlines()
    assert first == "services/shop", "the status is clean"
    left_out = {"libs/.gitignore", "libs/x", "libs/y/z", "services/bank/c"}
    assert {line[2:] for line in listed if line.startswith("S ")} == left_out
    assert later.split() == ["README", "services", "x", "M", "libs/x"]
    assert work == {"services/shop/a": "M", "libs/x": "M"}


SHOP_IS_GONE = {"services/shop/a": "D", "services/shop/deep/b": "D"}
# A script, what it changed, and what is not kept of it. Each is run in a folder that has the files.
OF_FILES: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "removed": ("rm -r services", {"services/README": "D", **SHOP_IS_GONE}, []),
    "new": ("mkdir libs; echo new > libs/new; echo mine > libs/x; echo o > libs/no.o", {"libs/new": "A", "libs/x": "M"}, []),
    "file": ("echo file > libs", {}, ["libs"]),
    "below": ("mkdir -p libs/x; echo below > libs/x/below; echo ok > libs/ok", {"libs/ok": "A"}, ["libs/x/below"]),
    "link": ("ln -s README libs", {}, ["libs"]),
    "moved": ("mv services/shop libs", {**SHOP_IS_GONE, "libs/a": "A", "libs/deep/b": "A"}, []),
    "anew": ("rm -r services; mkdir services; echo mine > services/README", {"services/README": "M", **SHOP_IS_GONE}, []),
}  # fmt: skip


@pytest.mark.parametrize("names", [[name] for name in OF_FILES] if FULL else [list(OF_FILES)], ids="-".join)
def test_what_is_not_checked_out_is_never_deleted(hosts: list[Host], names: list[str]) -> None:
    files = {f"{name}/{path}": content for name in names for path, content in FILES.items()}
    origin = make_origin(hosts[0].work_dir.parent / str(uuid.uuid4()), files)
    scripts = "".join(f"cd {name}; {OF_FILES[name][0]}; cd ..\n" for name in names)

    def act(host: Host, job: Job) -> object:
        return session(replace(job, sparse_paths=tuple(f"{name}/{SHOP[0]}" for name in names)), host, scripts)

    found, notes = on_each(hosts, origin, act)
    assert found == {f"{name}/{path}": status for name in names for path, status in OF_FILES[name][1].items()}
    lost = sorted(f"{name}/{path}" for name in names for path in OF_FILES[name][2])
    assert sorted(note.partition(":")[0] for note in notes) == lost


@pytest.mark.parametrize(
    ("script", "found", "lost"),
    [
        ("git rm -rq --sparse libs/y; echo n > n", {"n": "A"}, ["libs/y/z"]),
        ("rm .git/index; git add -A; echo n > n", {"n": "A"}, ["libs/.gitignore", "libs/x", "libs/y/z", "services/bank/c"]),
        ("git sparse-checkout disable; rm -r libs; echo c >> services/bank/c", {"services/bank/c": "M"}, []),
    ],
    ids=["removed", "added", "disabled"],
)  # fmt: skip
def test_what_is_not_checked_out_is_never_deleted_by_the_agents_git(
    hosts: list[Host], origin: Path, script: str, found: dict[str, str], lost: list[str]
) -> None:
    got, notes = on_each(hosts, origin, lambda host, job: session(job, host, script))
    assert got == found
    assert sorted(note.partition(":")[0] for note in notes) == lost


def test_work_outside_of_the_folders_is_there_for_those_who_follow(hosts: list[Host], origin: Path) -> None:
    for number, host in enumerate(hosts):
        first = job_on(origin, attempt=10 * number + 1)
        assert session(first, host, "mkdir libs; echo mine > libs/x; echo n > libs/n")[0] == {
            "libs/x": "M",
            "libs/n": "A",
        }
        second = after(first, 10 * number + 2)
        workspace = begun(second, hosts[number - 1])
        shown = in_checkout(workspace, "ls libs; git status --short -uall; rm libs/x; echo more >> libs/n")
        assert shown.split() == ["n", "x", "M", "libs/x", "??", "libs/n"]
        assert changed(workspace, second) == {"libs/x": "D", "libs/n": "A"}
        workspace.dispose()
        third = after(second, 10 * number + 3)
        workspace = begun(third, host)
        assert in_checkout(workspace, "ls libs; git status --short -uall").split() == [
            "n",
            "D",
            "libs/x",
            "??",
            "libs/n",
        ]
        assert changed(workspace, third) == {"libs/x": "D", "libs/n": "A"}
        workspace.dispose()


def test_a_follow_up_after_the_setting_changed_has_the_new_folders(hosts: list[Host], origin: Path) -> None:
    for number, host in enumerate(hosts):
        first = job_on(origin, attempt=10 * number + 1)
        session(first, host, "echo more >> services/shop/a")
        for attempt, paths, there in (
            (2, ("libs",), "libs\nREADME\nservices"),
            (3, (), "libs\nREADME\nservices"),
            (4, SHOP, ""),
        ):
            later = after(first, 10 * number + attempt, sparse_paths=paths)
            workspace = begun(later, host)
            shown = in_checkout(workspace, "ls; cat services/shop/a; git status --short")
            assert "more" in shown and " M services/shop/a" in shown
            assert all(name in shown for name in there.split())
            assert ("libs" in shown) == (paths != SHOP)
            assert changed(workspace, later) == {"services/shop/a": "M"}
            workspace.dispose(reusable=True)


def test_a_checkout_is_reused_by_sessions_with_the_same_folders(hosts: list[Host], origin: Path) -> None:
    host = hosts[-1]
    begun(job_on(origin, attempt=1), host).dispose(reusable=True)
    (origin / "libs/x").write_text("newer\n")
    (origin / "services/shop/a").write_text("newer\n")
    git(origin, "commit", "-qam", "newer")
    for attempt, paths in ((2, ()), (3, SHOP)):
        job = replace(job_on(origin, attempt=attempt), sparse_paths=paths)
        workspace = begun(job, host)
        assert (workspace.checkout / "libs").exists() == (not paths)
        assert (workspace.checkout / "services/shop/a").read_text() == "newer\n"
        assert in_checkout(workspace, "git status --short") == ""
        assert changed(workspace, job) == {}
        workspace.dispose(reusable=True)


def test_limits_count_what_is_checked_out(hosts: list[Host], origin: Path) -> None:
    limits = Limits(max_disk_files=8)
    for number, host in enumerate(hosts):
        begun(job_on(origin, attempt=2 * number + 1, limits=limits), host).dispose()
        with pytest.raises(EngineError) as caught:
            prepare(replace(job_on(origin, attempt=2 * number + 2, limits=limits), sparse_paths=()), host)
        assert caught.value.code == "file_limit"


def test_folders_that_the_commit_does_not_have_are_named(hosts: list[Host], origin: Path) -> None:
    for number, host in enumerate(hosts):
        job = replace(job_on(origin, attempt=number + 1), sparse_paths=("README", "nowhere/at/all", "services/shop"))
        workspace = begun(job, host)
        assert workspace.missing == ["README", "nowhere/at/all"]
        assert changed(workspace, job) == {}


def test_patterns_are_those_that_git_writes(tmp_path: Path) -> None:
    paths = ["a/b/c", "a/b/c/d", "e", "e/f", "g h/i*", "j/k", "j/l[x]", "ö"]
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "sparse-checkout", "set", "--cone", "--skip-checks", *paths)
    assert Cone.of(paths).patterns == (tmp_path / ".git/info/sparse-checkout").read_bytes()
