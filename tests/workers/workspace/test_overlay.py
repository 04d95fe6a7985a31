"""A checkout that is an overlay: what a session leaves in it becomes the same tree and the same bytes as in a whole checkout.

The agent's part is done by a forked process that mounts the layers as the sandbox does, where there are any.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.matrix import FULL
from tests.processes import do_in_child
from tests.workers.attempts import Engine
from tests.workers.engine import SANDBOXES, git, linux, repository
from tests.workers.repositories import (
    ENVIRONMENT,
    commit_all,
    finish,
    following,
    make_host,
    make_job,
    make_origin,
    prepare,
    stored_diffs,
    tip_of,
    write,
)
from tests.workers.workspace import test_diffs as plain
from workers.job import Host, Job, Limits
from workers.processes import system_calls
from workers.workspace.overlay_probe import can_overlay
from workers.workspace.workspace import Workspace

UID = 61_000
AGENT = {**ENVIRONMENT, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


def _is_possible() -> bool:
    with contextlib.ExitStack() as stack:
        import tempfile

        folder = stack.enter_context(tempfile.TemporaryDirectory())
        return can_overlay(Host(work_dir=Path(folder)))


needs_overlay = pytest.mark.skipif(
    not _is_possible(), reason="NOT TESTED: overlays need root, bubblewrap and a kernel that mounts overlays"
)
pytestmark = [linux, needs_overlay]


def as_agent(workspace: Workspace, work: Callable[[Path], None]) -> None:
    """Do the work in the checkout as the agent sees it."""
    overlay = workspace.overlay
    if overlay is None:
        with contextlib.chdir(workspace.checkout):
            work(Path("."))
        return

    def work_in_overlay() -> None:
        checkout = workspace.root / "merged"
        checkout.mkdir(exist_ok=True)
        system_calls.enter_private_mounts()
        folders = (overlay.lower, overlay.upper, overlay.work)
        system_calls.mount_overlay([os.open(each, os.O_PATH) for each in folders], str(checkout))
        os.chdir(checkout)
        work(Path("."))

    do_in_child(work_in_overlay)


def shell(script: str) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        subprocess.run(["sh", "-ec", script], cwd=folder, env=AGENT, check=True, stdout=subprocess.DEVNULL)

    return work


FILES: dict[str, str | bytes] = {
    "src/a/one": "1\n",
    "src/a/two": "2\n",
    "src/a/deep/er/three": "3\n" * 50,
    "src/b/four": "4\n",
    "src/.gitignore": "*.log\nbuild/\n",
    "src/a/kept.log": "tracked although ignored\n",
    ".gitignore": "ignored\n",
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    origin = plain.base_repository(tmp_path_factory.mktemp("base") / "origin")
    more: dict[str, str | bytes] = {
        ".env": "key=1\n",
        ".claude/settings.json": "{}\n",
        "conf/.env": "key=2\n",
        "conf/x": "x\n",
        "conf.d/.env": "key=3\n",
        "conf.d/y": "y\n",
    }
    write(origin, {**FILES, **more})
    git(origin, "add", "--force", "src", ".gitignore", ".env", ".claude", "conf", "conf.d")
    git(origin, "commit", "--quiet", "--message", "more")
    return origin


@pytest.fixture(scope="module")
def copies(origin: Path) -> Path:
    """Where edits are done in."""
    return plain.base_repository(origin.with_name("copies"), plain.COPIES)


@pytest.fixture(scope="module")
def plain_origin(origin: Path) -> Path:
    """One whose files the agent's git does not convert, so that it finds them unchanged however it looks at them."""
    files: dict[str, str | bytes] = {
        "src/a/one": "1\n",
        "src/a/b/two": "2\n",
        "src/b/x": "x\n",
        "text": "t\n",
        "run": "#!\n",
    }
    made = make_origin(origin.parent / "plain", files)
    (made / "run").chmod(0o755)
    (made / "link").symlink_to("src")
    commit_all(made)
    return made


@pytest.fixture(scope="module")
def hosts(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Host]:
    """One that makes overlays, and one that does not. They have the base ready."""
    host = make_host(
        tmp_path_factory.mktemp("hosts") / "work",
        local_repositories=origin.parent,
        sandbox="bubblewrap",
        sandbox_uid=UID,
    )
    assert can_overlay(host)
    return [host, replace(host, overlay=False)]


def base_state(workspace: Workspace) -> list[tuple[str, int, int, int]]:
    """Everything about the shared files that a session could have changed."""
    assert workspace.overlay
    found = []
    for parent, folders, files in os.walk(workspace.overlay.lower):
        for name in (*folders, *files):
            status = os.lstat(os.path.join(parent, name))
            found.append((os.path.join(parent, name), status.st_mode, status.st_ctime_ns, status.st_size))
    return sorted(found)


def both(
    hosts: list[Host], job: Callable[[], Job], setup: Callable[[Path], None] | None, work: Callable[[Path], None]
) -> Job:
    """Do the same in both ways and compare what comes of it. Returns the job of the one with the overlay."""
    results = []
    for host in hosts:
        given = job()
        workspace = prepare(given, host)
        assert (workspace.overlay is not None) == host.overlay
        before = base_state(workspace) if workspace.overlay else None
        if setup:
            as_agent(workspace, setup)
        workspace.after_setup(has_run=setup is not None)
        as_agent(workspace, work)
        tree = finish(workspace, given)
        assert before is None or base_state(workspace) == before, "the base is as it was"
        results.append(
            (tree, stored_diffs(given), sorted(workspace.left_out), sorted(workspace.notes), workspace.withheld)
        )
        workspace.dispose()
        jobs.append(given)
    in_overlay, whole = results
    files = [each[1].get("cumulative", b"").split(b"\ndiff --git ") for each in results]
    assert files[0] == files[1], "the names of files tell which work is not the same"
    assert in_overlay == whole
    return jobs[-2]


jobs: list[Job] = []


def first_job(origin: Path) -> Job:
    """One that has to fetch nothing where the host has the commit."""
    return make_job(origin, attempt=_attempt(), base_sha=tip_of(origin))


def _attempt() -> int:
    _attempts.append(0)
    return len(_attempts)


_attempts: list[int] = []


@pytest.mark.parametrize("edit", plain.EDITS, ids=lambda edit: edit.__name__)
def test_edits_give_the_same_bytes_in_both(edit: Callable[[Path], None], hosts: list[Host], copies: Path) -> None:
    job = both(hosts, lambda: first_job(copies), None, edit)
    # The next session finds that work, and more of the same is done on top of it.
    more = shell("echo more > more; rm -rf script.sh */script.sh text* renamed folder")
    both(hosts, lambda: following(job, _attempt(), base_sha=tip_of(copies)), None, more)


# What changes files only.
OF_FILES = {
    "a folder is moved": "mv src/a moved",
    "a folder is moved and changed": "mv src/a moved; echo x >> moved/one; rm moved/two; mv moved/deep elsewhere; rm src/b/four",
    "a folder is moved twice": "mv src lib; mv lib/a lib/z; mv lib src2; echo n > src2/z/new; echo l > src2/new.log",
    "a folder is moved into another": "mkdir in; mv src/a in/; mv src/b in/a/b; rmdir in/a/deep/er 2>/dev/null || true",
    "a folder is moved into an ignored one": "mkdir src/build; mv src/a src/build/a",
    "a moved folder's place is taken": "mv src/a old; mkdir src/a; echo new > src/a/one; echo other > src/a/other",
    "a folder is removed and made again": "rm -r src/a; mkdir -p src/a/deep; echo back > src/a/deep/x; echo 1 > src/a/one",
    "a folder becomes a file and back": "rm -r src/a; echo f > src/a; rm src/a; mkdir src/a; echo g > src/a/one",
    "a folder is moved and moved back": "mv src x; mv x src; echo y >> src/b/four; mv src/a src/z; mv src/z src/a; rm src/a/two",
    "a folder comes back into another one": "mv src/a top; mv src old; mkdir src; mv top src/a; rm -r old; echo y > src/a/y",
    "a folder comes back beside a moved one": "mv src/a src/b/a; mv src/b c; mkdir src/b; echo n > src/b/four; mv c/a src/a",
    "a folder becomes a link": "mv src/a there; ln -s ../there src/a",
    "hard links": "ln src/a/one src/a/linked; ln src/a/one top; echo more >> top",
    "modes only": "chmod +x src/a/one; chmod 600 src/a/two; chmod 700 src/a",
    "the same again": "cp src/a/one x; rm src/a/one; mv x src/a/one; touch src/a/two; cat text > y; cat y > text; rm y",
    "ignored and not": "mkdir src/build; echo x > src/build/x; echo x > src/new.log; echo y > src/a/new.log; echo z > src/a/z",
    "a tracked file that is ignored": "echo changed > src/a/kept.log; touch src/b/other.log",
    "the rules themselves": "echo > src/.gitignore; echo x > src/now-seen.log; echo 'src/b/' >> .gitignore; echo > src/b/five",
    "rules that are gone": "rm src/.gitignore; echo x > src/a/now-seen.log",
    "pipes and names that git refuses": "mkfifo src/a/pipe; rm text; mkfifo text; mkdir .GIT; echo x > .GIT/x; echo x > src/git~1",
    "unlinked while open": "exec 3<> src/a/one; rm src/a/one; echo x >&3; echo y > src/a/one",
}
# What changes the index of the agent's repository too, of paths beside it.
OF_THE_INDEX = {
    "the index forgets": "git rm -q --cached src/a/kept.log src/b/four; echo x > src/b/new",
    "the index has what is ignored": "mkdir src/build; echo x > src/build/x; echo y > src/build/y; git add -f src/build/x",
    "a submodule has another commit": f'git update-index --cacheinfo "160000,{"2" * 40},$(git rev-parse --show-prefix)module"',
    "a submodule is gone": "git rm -q --cached module; rmdir module",
    "files where a submodule was": "git rm -q --cached module; echo x > module/x",
    "reset": "echo x >> src/a/one; rm -r src/b; git checkout -q HEAD -- src; echo y > y",
    "a repository inside": "git init -q src/n; echo x > src/n/x; cd src/n; git add x; git commit -qm x",
}
# What changes all of a repository. That everything is gone is one of the edits.
OF_ALL = {
    "a sparse checkout": "git sparse-checkout set --no-cone /src; echo x > src/x",
    "moved by git": "git mv src lib; git commit -qam moved; echo more >> lib/b/four",
    "a branch and back": "git checkout -q -b other; git rm -rq src; git commit -qm x; git checkout -q main; echo y > src/y",
}


# What setup does, and then the agent.
SETUPS = {
    "what setup made is removed": ("mkdir made; echo s > made/of-setup; echo s > new", "rm -r made; mv new newer"),
    "moves": ("mv src/a lib; echo built > src/built; rm text", "echo x >> lib/one; rm lib/two; mv lib lib2"),
    "changes": ("echo s >> src/a/one; echo s > src/new; rm src/a/two", "echo a >> src/a/one; echo 2 > src/a/two"),
    "removes": ("rm -r src/a; rm text", "mkdir src/a; echo 1 > src/a/one; echo mine > src/a/mine"),
    "restores": ("rm -r src/a; echo changed > text", "git checkout -q -- src/a text; echo x > x"),
    "ignored": ("mkdir -p src/build; echo x > src/build/x; git add -f src/build/x", "echo y > src/build/y; git status"),
}
SETUP_OF_CONFIGURATION = (
    "rm .env; echo changed > .claude/settings.json; mv conf lib; echo new > .mcp.json; rm conf.d/.env",
    "test ! -e .env; test ! -e .claude; test ! -e lib/.env; test ! -e .mcp.json; test -e lib/x; echo mine > .env; rm -r conf.d",
)


@pytest.fixture(scope="module")
def folders(origin: Path) -> Path:
    """A folder for each script. Files that no script writes again have a content of their own in each."""
    files: dict[str, str | bytes] = {}
    for name in (*OF_FILES, *OF_THE_INDEX, *SETUPS):
        files[f"{name}/text"] = "t\n"
        for path, content in FILES.items():
            is_same = path.endswith(("/one", ".gitignore"))
            files[f"{name}/{path}"] = content if is_same else f"{content!r} of {name}\n"
    made = make_origin(origin.with_name("folders"), files)
    for name in OF_THE_INDEX:
        if "submodule" in name:
            git(made, "update-index", "--add", "--cacheinfo", f"160000,{plain.SUBMODULE},{name}/module")
    git(made, "commit", "--quiet", "--message", "submodules")
    return made


def in_folders(scripts: dict[str, str]) -> Callable[[Path], None]:
    """Run each script in the folder that has its name."""

    def work(folder: Path) -> None:
        for name, script in scripts.items():
            shell(script)(folder / name)

    return work


@pytest.mark.parametrize("scripts", [OF_FILES, OF_THE_INDEX], ids=["files", "index"])
def test_what_agents_do_in_folders_gives_the_same_bytes_in_both(
    scripts: dict[str, str], hosts: list[Host], folders: Path
) -> None:
    both(hosts, lambda: first_job(folders), None, in_folders(scripts))


SCRIPTS = {**OF_ALL, **(OF_FILES | OF_THE_INDEX if FULL else {})}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_what_an_agent_does_gives_the_same_bytes_in_both(script: str, hosts: list[Host], origin: Path) -> None:
    both(hosts, lambda: first_job(origin), None, shell(script))


def test_setup_and_agent_in_folders_give_the_same_bytes_in_both(hosts: list[Host], folders: Path) -> None:
    setups = {name: setup for name, (setup, _) in SETUPS.items()}
    scripts = {name: script for name, (_, script) in SETUPS.items()}
    both(hosts, lambda: first_job(folders), in_folders(setups), in_folders(scripts))


ALONE = [SETUP_OF_CONFIGURATION, *(SETUPS.values() if FULL else ())]


@pytest.mark.parametrize(("setup", "script"), ALONE)
def test_setup_and_agent_give_the_same_bytes_in_both(setup: str, script: str, hosts: list[Host], origin: Path) -> None:
    both(hosts, lambda: first_job(origin), shell(setup), shell(script))


@pytest.mark.parametrize("seed", range(6 if FULL else 1))
def test_any_sequence_gives_the_same_bytes_in_both(seed: int, hosts: list[Host], origin: Path) -> None:
    first = both(hosts, lambda: first_job(origin), None, _any_work(seed))
    both(
        hosts,
        lambda: following(first, _attempt(), base_sha=tip_of(origin)),
        _any_work(seed + 100),
        _any_work(seed + 200),
    )


def _any_work(seed: int) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        chance = random.Random(seed)
        for number in range(12):
            paths = sorted(path for path in folder.rglob("*") if ".git" not in path.parts)
            one = chance.choice(paths)
            place = chance.choice([path for path in (folder, *paths) if path.is_dir() and not path.is_symlink()])
            target = place / chance.choice(["one", "new", f"n{number}", "src", "a", "x.log", "build"])
            with contextlib.suppress(OSError, shutil.Error):
                match chance.choice(["write", "append", "remove", "rename", "link", "mode", "folder", "hard"]):
                    case "write":
                        target.write_text(f"{number}\n" * chance.randrange(40))
                    case "append" if not one.is_symlink():
                        with one.open("a") as file:
                            file.write(f"more {number}\n")
                    case "remove":
                        shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
                    case "rename":
                        one.rename(target)
                    case "link":
                        target.symlink_to("../text")
                    case "mode" if not one.is_symlink():
                        one.chmod(0o755)
                    case "folder":
                        target.mkdir()
                    case "hard":
                        os.link(one, target, follow_symlinks=False)

    return work


# What is stopped or lost


def test_what_fits_is_the_same_in_both(hosts: list[Host], origin: Path) -> None:
    script = "mv src/a moved; yes x | head -n 4000 > large; echo s > small; rm text"
    found = []
    for host in hosts:
        workspace = prepare(first_job(origin), host)
        workspace.after_setup(has_run=False)
        as_agent(workspace, shell(script))
        whole, parts = workspace.snapshot(), []
        for limits in (Limits(), Limits(max_diff_files=4), Limits(max_diff_bytes=4000)):
            parts.append((workspace.snapshot(limits), workspace.left_out))
        assert workspace.snapshot() == whole, "nothing of it stays"
        found.append((whole, parts))
        workspace.dispose()
    (whole, (all_of_it, few, small)), other = found
    assert found[0] == other
    assert all_of_it == (whole, []) and few[0] != whole and "large" in str(small[1])


def test_work_of_a_lost_worker_is_the_same_in_both(hosts: list[Host], origin: Path) -> None:
    trees = []
    for host in hosts:
        job = first_job(origin)
        workspace = prepare(job, host)
        as_agent(workspace, shell("echo s > of-setup; mv src/b b"))
        workspace.after_setup()
        as_agent(workspace, shell("mv src/a moved; echo x > b/x; rm text"))
        reopened = Workspace.reopen(job, host)
        assert reopened is not None
        trees.append(reopened.snapshot())
        workspace.dispose()
    assert trees[0] == trees[1]


# What the agent sees


def test_the_agent_finds_the_same_in_both(hosts: list[Host], plain_origin: Path, tmp_path: Path) -> None:
    """Files, their modes and owners, and all that its git says; of a first session and of a later one."""
    first = both(
        hosts,
        lambda: first_job(plain_origin),
        None,
        shell("mv src/a m; rm -r src/b; echo n > src/n; echo t >> text"),
    )
    look = (
        "find . -path ./.git -prune -o -printf '%p %M %U %l\\n' | sort; git status --short; git diff; git log --format=%H%d;"
        "git ls-files -s; git rev-parse HEAD; git fsck 2>&1; cat .git/config .git/HEAD; stat -c %u .git/HEAD"
    )
    for given in (
        lambda: first_job(plain_origin),
        lambda: following(first, _attempt(), base_sha=tip_of(plain_origin)),
    ):
        seen = []
        for host in hosts:
            workspace = prepare(given(), host)
            out = tmp_path / "seen"
            as_agent(workspace, shell(f"({look}) > {out}"))
            seen.append(out.read_text().replace(". drwx------", ". d"))
            assert workspace.snapshot() == workspace.start_tree, "it only looked"
            workspace.dispose()
        assert seen[0] == seen[1] and "main" in seen[0]


def test_status_reads_no_file_again(hosts: list[Host], origin: Path, tmp_path: Path) -> None:
    """The base's index knows its files, so that the agent's git does not read all of a large repository."""
    workspace = prepare(first_job(origin), hosts[0])
    out = tmp_path / "stale"
    as_agent(workspace, shell(f"git diff-files > {out}"))
    assert out.read_text() == ""
    workspace.dispose()


def test_nobody_can_write_to_the_base(hosts: list[Host], origin: Path) -> None:
    """Whatever the agent opens, changes or removes is its own; two sessions at once do not see each other."""
    one, two = (prepare(first_job(origin), hosts[0]) for _ in range(2))
    assert one.overlay and not one.overlay.lower.is_symlink(), "what hosts are given here is shared by other tests"
    before = base_state(one)
    as_agent(one, shell("chmod -R 777 . ; find . -type f -exec sh -c 'echo x >> \"$1\"' sh {} \\; ; rm -rf src .git"))
    as_agent(two, shell('test "$(cat src/a/one)" = 1; git fsck'))
    assert base_state(one) == before
    assert stat.S_IMODE(one.overlay.lower.stat().st_mode) == 0o700
    for workspace in (one, two):
        workspace.dispose()


def test_a_session_starts_few_git_processes(
    hosts: list[Host], plain_origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(first_job(plain_origin), hosts[0]).dispose()
    log, real = tmp_path / "log", git(tmp_path, "--exec-path") + "/git"
    write(tmp_path, {"programs/git": f'#!/bin/sh\nPATH="${{PATH#*:}}"\necho "$*" >> "{log}"\nexec "{real}" "$@"\n'})
    (tmp_path / "programs/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs{os.pathsep}{os.environ['PATH']}")

    def started_by(job: Job) -> list[str]:
        log.write_text("")
        workspace = prepare(job, hosts[0])
        workspace.after_setup(has_run=False)
        as_agent(workspace, lambda folder: write(folder, {"src/a/two": f"{job.attempt}\n", "new": "x\n"}))
        finish(workspace, job)
        workspace.dispose()
        return log.read_text().splitlines()

    first = first_job(plain_origin)
    assert len(started := started_by(first)) <= 3, started
    assert len(started := started_by(following(first, _attempt(), base_sha=tip_of(plain_origin)))) <= 5, started


# Whole attempts


@pytest.mark.skipif(
    "bubblewrap" not in str(SANDBOXES), reason="NOT TESTED: bubblewrap does not work here; see agent-runners doctor"
)
def test_attempts_in_the_sandbox_give_the_same_in_both(tmp_path: Path) -> None:
    source = repository(
        tmp_path / "repositories/one", [("README", "hello\n"), ("file", "one\n"), (".env", "secret=1\n")]
    )
    (source / "folder/inner").mkdir(parents=True)
    (source / "folder/inner/x").write_text("x\n")
    git(source, "add", "--all")
    git(source, "commit", "-qm", "more")
    results = []
    script = (
        "test ! -e .env; ls -A folder; mv folder other; echo y > other/y; echo more >> README; rm file; git status --short;"
        "echo mine > .env"
    )
    for overlay in (True, False):
        host = Host(
            tmp_path / f"work{overlay}", sandbox="bubblewrap", local_repositories=source.parent, overlay=overlay
        )
        engine = Engine(host, source)
        attempt = engine.run(
            script, setup_command="cat .env; mkdir built; echo b > built/b; mv folder/inner folder/outer"
        )
        assert attempt.outcome.failure is None, attempt.text
        results.append((attempt.steps, engine.diff, [str(event) for event in attempt.events]))
        assert engine.is_clean()
    assert results[0] == results[1]
