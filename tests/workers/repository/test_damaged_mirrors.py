"""A mirror is a copy: one that is damaged is made anew, if the remote is well."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.matrix import usual
from tests.workers.attempts import Engine, code, engine_in
from tests.workers.repositories import (
    commit_all,
    fetch_base,
    finish,
    following,
    furnish,
    git,
    make_host,
    make_job,
    make_origin,
    prepare,
    write,
)
from workers.processes.lifeline import Lifeline
from workers.repository.mirror import Mirror

STEP = "The worker's copy of the repository was recreated"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, "none", (("file", "one\n"),)) as made:
        yield made


def packs(mirror: Path) -> list[Path]:
    return list(mirror.glob("objects/pack/*.pack"))


def overwrite_packs(mirror: Path) -> None:
    for pack in packs(mirror):
        pack.chmod(0o600)
        pack.write_bytes(b"garbage" * 100)


def delete_packs(mirror: Path) -> None:
    for pack in packs(mirror):
        pack.unlink()


def overwrite(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(mirror: Path) -> None:
        for path in mirror.glob(name):
            path.write_bytes(content)

    return damage


def delete(name: str) -> Callable[[Path], None]:
    return lambda mirror: (mirror / name).unlink()


def empty_folder(mirror: Path) -> None:
    shutil.rmtree(mirror)
    mirror.mkdir()


def file_in_its_place(mirror: Path) -> None:
    shutil.rmtree(mirror)
    mirror.write_text("")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "garbage in a pack": overwrite_packs,
    "a deleted pack": delete_packs,
    "an empty base": overwrite("refs/base/*", b""),
    "a base of zeros": overwrite("refs/base/*", bytes(41)),
    "an empty tip": overwrite("refs/fetched/tip", b""),
    "an empty HEAD": overwrite("HEAD", b""),
    "no HEAD": delete("HEAD"),
    "no configuration": delete("config"),
    "a configuration of zeros": overwrite("config", bytes(66)),
    "an empty folder": empty_folder,
    "a file in its place": file_in_its_place,
}


def test_a_damaged_mirror_is_made_anew(tmp_path: Path) -> None:
    origin = make_origin(tmp_path / "origin", {"file": "one\n"})
    hosts = {name: make_host(tmp_path / name / "work", local_repositories=tmp_path) for name in DAMAGE}
    for name, host in hosts.items():
        furnish(host, origin, "site")
        DAMAGE[name](host.work_dir / "mirrors" / "site")
    write(origin, {"file": "two\n"})
    newest = commit_all(origin)
    for name, host in hosts.items():
        job = make_job(origin)
        assert fetch_base(host, job) == newest, name
        mirror = Mirror(host, "site", Lifeline(600))
        assert (mirror.obtain_base(job).sha, mirror.was_damaged) == (newest, False), name
        # One that was made anew is as new, whatever was wrong with it. Only an empty tip is overwritten.
        if name in (*usual(list(DAMAGE)), "an empty tip"):
            workspace = prepare(job, host)
            write(workspace.checkout, {"new": "x\n"})
            tree = finish(workspace, job)
            workspace.dispose()
            assert prepare(following(job, 2, base_sha=newest), host).start_tree == tree, name


def test_a_follow_up_on_a_damaged_mirror_says_that_it_was_made_anew(engine: Engine) -> None:
    first = engine.run("echo two >> file")
    shutil.rmtree(engine.host.work_dir / "bases")
    overwrite_packs(engine.host.work_dir / "mirrors" / "site")
    cumulative = engine.sink.diffs["cumulative"]
    later = engine.run("cat file", base_sha=first.outcome.base_sha, start_diff=lambda: iter([cumulative]))
    assert later.outcome.failure is None, later.text
    assert STEP in later.steps
    assert later.outcome.result == "two"


def test_bases_of_other_attempts_are_in_the_new_mirror(engine: Engine) -> None:
    first = engine.run("true").outcome.base_sha
    mirror = engine.host.work_dir / "mirrors" / "site"
    overwrite("config", bytes(66))(mirror)
    write(engine.source, {"file": "changed\n"})
    commit_all(engine.source)
    assert STEP in engine.run("true").steps
    assert git(mirror, "cat-file", "-t", f"refs/base/{first}") == "commit"
    assert [path.name for path in mirror.parent.iterdir() if path.is_dir()] == ["site"]


def test_a_remote_that_fails_leaves_the_mirror_as_it_is(engine: Engine) -> None:
    engine.run("true")
    mirror = engine.host.work_dir / "mirrors" / "site"
    before = mirror.stat().st_ino
    engine.source.rename(engine.source.with_name("gone"))
    attempt = engine.run("true")
    assert code(attempt.outcome) == ("repository_unreachable", "checkout")
    assert STEP not in attempt.steps
    assert mirror.stat().st_ino == before
    assert git(mirror, "rev-parse", "--is-bare-repository") == "true"


def test_a_partial_mirror_that_lost_contents_is_made_anew(engine: Engine) -> None:
    git(engine.source, "config", "uploadpack.allowFilter", "true")
    first = engine.run("echo two >> file", partial_clone=True)
    mirror = engine.host.work_dir / "mirrors" / "site"
    commit, content = (git(mirror, "rev-parse", f"{first.outcome.base_sha}{what}") for what in ("", ":file"))
    [pack] = [each for each in packs(mirror) if content in git(mirror, "verify-pack", "-v", str(each))]
    assert commit not in git(mirror, "verify-pack", "-v", str(pack))
    for part in pack.parent.glob(f"{pack.stem}.*"):
        part.unlink()
    shutil.rmtree(engine.host.work_dir / "bases")
    cumulative = engine.sink.diffs["cumulative"]
    follow_up = {"base_sha": first.outcome.base_sha, "start_diff": lambda: iter([cumulative]), "partial_clone": True}
    later = engine.run("cat file", **follow_up)
    assert later.outcome.failure is None, later.text
    assert STEP in later.steps and later.outcome.result == "two"
