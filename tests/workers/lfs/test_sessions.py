"""Sessions on a repository with Git LFS: the agent works with the content of large files, and the diffs have pointers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.demo.forge import DemoForge, Repository
from tests.matrix import usual
from tests.workers.attempts import Attempt, Engine
from tests.workers.engine import USUAL_SANDBOX, linux
from tests.workers.git_versions import SLOW_PATTERN, SLOW_PATTERNS
from tests.workers.lfs.repositories import ATTRIBUTES, BIG, oid_of, pointer, store, with_lfs
from tests.workers.repositories import applied
from tests.workers.workspace.test_orphans import lose
from workers import discard_workspaces, save_lost_work
from workers.events import Step
from workers.job import Limits

NEW = b"new content\n" * 500
WRITE_NEW = "yes 'new content' | head -n 500"
# What is the same for a checkout of any kind.
in_one_sandbox = pytest.mark.parametrize("engine", USUAL_SANDBOX, indirect=True)


@pytest.fixture
def start(engine: Engine, forge: DemoForge, repository: Repository) -> Iterator[Any]:
    """Runs a prompt on the repository with the engine's own sink."""

    def run(prompt: str, **more: object) -> Attempt:
        url = forge.clone_url(repository.full_name)
        settings = {"repo_url": url, "credential": forge.token, "read_lfs_object": engine.sink.read_lfs_object, **more}
        attempt = engine.run(prompt, **settings)
        assert attempt.outcome.failure is None, attempt.text
        return attempt

    yield run


def follow(engine: Engine) -> dict[str, Any]:
    """What makes a session a follow-up of the last one."""
    diff = engine.sink.diffs["cumulative"]
    return {"start_diff": lambda: iter([diff]), "sink": engine.sink}


def said(attempt: Attempt) -> str:
    return "\n".join(f"{each.title}\n{each.message}" for each in attempt.events if isinstance(each, Step))


def text_of(attempt: Attempt, title: str) -> str:
    return "".join(each.message for each in attempt.events if isinstance(each, Step) and each.title == title)


def test_setup_and_the_agent_see_the_content_and_git_no_change(start: Any, engine: Engine) -> None:
    start("touch other", setup_command="sha256sum assets/big.bin; printf x >> assets/big.bin")
    assert "other" in engine.diff and "big.bin" not in engine.diff
    engine.sink.diffs.clear()
    # As in a base of an earlier release.
    for noted in engine.host.work_dir.glob("bases/*/*/lfs.json"):
        noted.unlink()

    attempt = start(
        f"sha256sum assets/big.bin; git status --short | grep . || echo clean; {commit('empty')};"
        # Git makes a pointer of it.
        "rm assets/big.bin; git checkout -q -- assets/big.bin; head -1 assets/big.bin"
    )

    assert oid_of(BIG) in said(attempt)
    assert "clean" in said(attempt)
    assert not engine.sink.diffs
    assert not engine.sink.lfs_objects


def test_files_that_the_agent_adds_and_changes_become_pointers_and_have_their_content_in_a_follow_up(
    start: Any, engine: Engine, repository: Repository, tmp_path: Path
) -> None:
    attempt = start(
        f"{WRITE_NEW} > assets/new.bin; cp assets/new.bin plain.dat; : > none.bin; {commit('mine')};"
        "printf x >> assets/big.bin;"
        "printf 'version https://git-lfs.github.com/spec/v1\n<<<<<<< branch\n' > conflict.bin"
    )

    assert pointer(NEW) in plus(engine.diff, "assets/new.bin")
    assert oid_of(BIG + b"x") in plus(engine.diff, "assets/big.bin")
    assert plus(engine.diff, "plain.dat") == NEW.decode()
    assert "none.bin" in engine.diff
    assert "+<<<<<<< branch" in engine.diff, "who resolves the conflict sees it"
    assert engine.sink.lfs_objects == {oid_of(NEW): NEW, oid_of(BIG + b"x"): BIG + b"x"}
    assert "assets/new.bin" in text_of(attempt, "The diff changes files of Git LFS")
    applied(repository.folder, repository.branches()["main"], engine.sink.diffs["result"])

    # Another worker has nothing yet.
    engine.host = replace(engine.host, work_dir=tmp_path / "private" / "other")
    attempt = start(
        "sha256sum assets/*; git status --short; printf y >> assets/new.bin; git mv assets/big.bin moved.bin",
        **follow(engine),
    )

    assert {oid_of(NEW), oid_of(BIG + b"x")} <= set(said(attempt).split())
    assert oid_of(NEW + b"y") in plus(engine.diff, "assets/new.bin")
    assert "similarity index 100%\nrename from assets/big.bin\nrename to moved.bin" in engine.diff
    assert engine.sink.lfs_objects.keys() == {oid_of(each) for each in (NEW, BIG + b"x", NEW + b"y")}
    assert oid_of(BIG + b"x") in plus(engine.sink.diffs["cumulative"].decode(), "moved.bin")


@in_one_sandbox
def test_a_repository_with_ids_of_sha256_has_lfs_too(start: Any, engine: Engine, forge: DemoForge) -> None:
    files = {".gitattributes": ATTRIBUTES, "big.bin": pointer(BIG)}
    longer = forge.make_repository("acme", f"longer-{id(start)}", files, object_format="sha256")
    store(longer, BIG)
    there = {"repo_url": forge.clone_url(longer.full_name), "site_id": "longer"}

    attempt = start(f"sha256sum big.bin; git status --short | grep . || echo clean; {WRITE_NEW} > new.bin", **there)
    assert {oid_of(BIG), "clean"} <= set(said(attempt).split())
    assert pointer(NEW) in plus(engine.diff, "new.bin") and "big.bin" not in engine.diff


@pytest.mark.parametrize("partial_in", usual(["none", "bubblewrap"]))
def test_what_a_sparse_checkout_leaves_out_is_not_fetched(
    start: Any, engine: Engine, repository: Repository, partial_in: str
) -> None:
    repository.commit("main", {"docs/new.bin": pointer(NEW)}, "A picture")
    store(repository, NEW)
    (repository.folder / "lfs" / oid_of(BIG)).unlink()
    sparse = {"sparse_paths": ("docs",), "partial_clone": engine.host.sandbox == partial_in}

    attempt = start(
        "sha256sum docs/*; test ! -e assets; git status --short | grep . || echo clean;"
        f"mkdir assets; {WRITE_NEW} > assets/big.bin",
        **sparse,
    )
    assert {oid_of(NEW), "clean"} <= set(said(attempt).split()) and oid_of(BIG) not in said(attempt)
    assert pointer(NEW).splitlines()[1] in plus(engine.diff, "assets/big.bin") and "docs" not in engine.diff


@in_one_sandbox
def test_an_agent_may_begin_to_use_lfs(start: Any, engine: Engine, forge: DemoForge) -> None:
    plain = forge.make_repository("acme", f"plain-{id(start)}", {"README": "hello\n"})
    url = forge.clone_url(plain.full_name)

    there = {"repo_url": url, "site_id": "plain"}

    start(f"printf '* filter=lfs\\n' > .gitattributes; {WRITE_NEW} > new", **there)

    assert plus(engine.diff, ".gitattributes") == "* filter=lfs\n", "what git reads itself stays as it is"
    assert plus(engine.diff, "new") == pointer(NEW)
    attempt = start(f"sha256sum new; echo x > .gitignore; {WRITE_NEW} > newer", **there, **follow(engine))
    assert oid_of(NEW) in said(attempt)
    assert plus(engine.diff, ".gitignore") == "x\n" and plus(engine.diff, "newer") == pointer(NEW)


@in_one_sandbox
def test_objects_that_the_server_lacks_are_named_and_a_host_keeps_the_others_for_its_site(
    start: Any, engine: Engine, forge: DemoForge
) -> None:
    lacking = with_lfs(forge, f"lacking-{id(start)}", on_server=False)
    lacking.commit("main", {".gitignore": "size\n"}, "Ignore what setup makes")
    there = {"repo_url": forge.clone_url(lacking.full_name), "site_id": "lacking"}
    run = partial(start, "cat size assets/big.bin", **there, setup_command="wc -c < assets/big.bin > size")

    attempt = run()
    assert oid_of(BIG) in said(attempt), "the pointer"
    assert "assets/big.bin: the server does not have it" in text_of(attempt, "Files of Git LFS without their content")
    assert f"{len(pointer(BIG))}" in said(attempt).split()
    assert not engine.sink.diffs

    store(lacking, BIG)
    assert f"{len(BIG)}" in said(run()).split(), "a setup that saw pointers runs again"
    (lacking.folder / "lfs" / oid_of(BIG)).unlink()
    assert oid_of(BIG) in said(start("sha256sum assets/big.bin", **there))
    assert oid_of(BIG) not in said(start("sha256sum assets/big.bin", **{**there, "site_id": "another"}))


@in_one_sandbox
def test_files_beyond_half_of_the_disk_space_are_named_and_stay_pointers(start: Any, forge: DemoForge) -> None:
    huge = forge.make_repository(
        "acme",
        f"huge-{id(start)}",
        {".gitattributes": ATTRIBUTES, "a.bin": pointer(b"").replace("size 0", "size 9" + 15 * "0")},
    )
    attempt = start("touch other", repo_url=forge.clone_url(huge.full_name), site_id="huge")

    assert "a.bin: its 9,000,000,000,000,000 bytes, with those of smaller files, exceed the limit" in text_of(
        attempt, "Files of Git LFS without their content"
    )


def test_one_object_in_many_places_takes_room_in_each_of_them(start: Any, engine: Engine, forge: DemoForge) -> None:
    content = bytes(1_000_000)
    files = {f"{number}.bin": pointer(content) for number in range(9)}
    many = forge.make_repository("acme", f"many-{id(start)}", {".gitattributes": ATTRIBUTES, **files})
    store(many, content)
    more = {"repo_url": forge.clone_url(many.full_name), "site_id": "many", "limits": Limits(max_disk_bytes=10_000_000)}

    for _ in range(2):
        attempt = start("cat *.bin | wc -c", **more)
        assert text_of(attempt, "Files of Git LFS without their content").count("exceed the limit") == 5
        assert any(len(line) == 7 and line.startswith("4000") for line in said(attempt).split())


@in_one_sandbox
def test_the_work_of_a_failed_session_keeps_its_large_files_and_a_secret_in_one_is_found(
    engine: Engine, forge: DemoForge, repository: Repository
) -> None:
    url = forge.clone_url(repository.full_name)
    script = f"{WRITE_NEW} > assets/new.bin; echo {forge.token} > key.bin; exit 3"
    attempt = engine.run(script, repo_url=url, credential=forge.token)

    assert attempt.outcome.failure
    assert engine.sink.contains_secret, "a large file has it"
    assert pointer(NEW) in plus(engine.diff, "assets/new.bin")
    key = f"{forge.token}\n".encode()
    assert engine.sink.lfs_objects == {oid_of(NEW): NEW, oid_of(key): key}
    assert "big.bin" not in engine.diff


DEEP = "a/" * 60
SLOW = f"{SLOW_PATTERN} filter=lfs\n" * SLOW_PATTERNS


@linux
@in_one_sandbox
def test_attributes_that_take_for_ever_leave_known_large_files_pointers(
    engine: Engine, forge: DemoForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git matches them to new files when it stages them, and once more when it is asked which files Git LFS keeps."""
    monkeypatch.setattr("workers.workspace.staging._LEAST_CPU_SECONDS", 1)
    monkeypatch.setattr("workers.workspace.staging._BYTES_A_SECOND", 10**12)
    monkeypatch.setattr("workers.lfs.attributes._CPU_SECONDS", 1)
    files = {".gitattributes": ATTRIBUTES + SLOW, "assets/big.bin": pointer(BIG)}
    slow = forge.make_repository("acme", "slow-attributes", files)
    store(slow, BIG)
    prompt = f"printf x >> assets/big.bin; mkdir -p {DEEP}; echo new > {DEEP}b"

    attempt = engine.run(prompt, repo_url=forge.clone_url(slow.full_name), credential=forge.token, site_id="slow")

    assert oid_of(BIG + b"x") in plus(engine.diff, "assets/big.bin")
    assert plus(engine.diff, f"{DEEP}b") == "new\n"
    assert "which files Git LFS keeps" in text_of(attempt, "Left out of the diff")


@linux
def test_the_work_of_a_lost_worker_keeps_its_large_files(
    engine: Engine, forge: DemoForge, repository: Repository
) -> None:
    job = engine.job(
        f"{WRITE_NEW} > assets/new.bin; echo begun; sleep 3600",
        repo_url=forge.clone_url(repository.full_name),
        credential=forge.token,
        limits=Limits(max_diff_bytes=16_000),
    )
    lose(engine, job)
    # As if it had been lost while it saved the same files.
    for folder in engine.host.work_dir.glob("workspaces/*/lfs"):
        (folder / "pointers").mkdir()

    save_lost_work(job, engine.host)

    assert pointer(NEW) in plus(engine.diff, "assets/new.bin")
    assert "big.bin" not in engine.diff
    assert engine.sink.lfs_objects == {oid_of(NEW): NEW}
    discard_workspaces(engine.host, engine.host.work_dir.glob("workspaces/*"))


def commit(message: str) -> str:
    return f"git add -A; git commit -q --allow-empty -m {message}"


def plus(diff: str, path: str) -> str:
    """The lines that a diff adds to a file."""
    part = next(each for each in diff.split("diff --git ") if each.startswith(f"a/{path} "))
    lines = part.partition("@@\n")[2].splitlines(keepends=True)
    return "".join(line[1:] for line in lines if line.startswith("+"))
