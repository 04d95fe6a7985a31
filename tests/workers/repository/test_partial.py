"""Partial mirrors: what they have, how they get more, and how they become whole again."""

from __future__ import annotations

import io
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.partial import TOO_LARGE, contents_in, make_large, mirror_of
from tests.workers.repositories import commit_all, git, make_job, make_origin, write
from workers.errors import EngineError
from workers.job import Host, Job
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import temporary_repository
from workers.repository.cone import EVERYTHING, Cone
from workers.repository.mirror import Mirror
from workers.repository.partial import is_partial

FILES: dict[str, str | bytes] = {
    "README": "readme\n",
    "shop/a": "a\n",
    "libs/x": "x\n",
    "libs/.gitignore": "*.o\n",
    ".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = https://example.org/s\n',
}
OF_GIT = {"libs/.gitignore", ".gitmodules"}


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_large(tmp_path / "origin", FILES)


def job_on(origin: Path, **more: object) -> Job:
    return make_job(origin, **{"partial_clone": True, **more})


def obtain(host: Host, job: Job, cone: Cone | None = None) -> str:
    """Obtain the base of a job, and the contents that the cone has."""
    mirror = Mirror(host, job.site_id, job.lifeline)
    sha = mirror.obtain_base(job).sha
    if cone is not None:
        mirror.contents(job).of_tree(sha, cone)
    return sha


def test_the_history_comes_without_contents_and_those_of_a_cone_by_their_ids(host: Host, origin: Path) -> None:
    mirror = mirror_of(host, "site")
    sha = obtain(host, job_on(origin))
    assert contents_in(mirror, origin) == set()
    assert git(mirror, "rev-list", "--count", sha) == "2"
    obtain(host, job_on(origin), Cone.of(["shop"]))
    assert contents_in(mirror, origin) == {"README", "shop/a", *OF_GIT}
    obtain(host, job_on(origin), EVERYTHING)
    assert contents_in(mirror, origin) == set(FILES)
    origin.rename(origin.with_name("gone"))
    assert obtain(host, job_on(origin, base_sha=sha), EVERYTHING) == sha, "no network is used again"


def test_a_partial_mirror_stores_no_url_and_no_command_fetches_by_itself(host: Host, origin: Path) -> None:
    sha = obtain(host, job_on(origin))
    mirror = mirror_of(host, "site")
    assert str(origin) not in (mirror / "config").read_text() and "remote" not in (mirror / "config").read_text()
    with pytest.raises(AssertionError, match=r"bad file|Not a valid object|could not get object info|fatal"):
        git(mirror, "cat-file", "-p", f"{sha}:libs/x", GIT_TRACE=str(mirror / "trace"))
    assert "fetch" not in (mirror / "trace").read_text()


def test_a_server_that_knows_no_filter_sends_everything(
    host: Host, origin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    git(origin, "config", "uploadpack.allowFilter", "false")
    with caplog.at_level("INFO"):
        obtain(host, job_on(origin), Cone.of(["shop"]))
    assert "libs/x~" in contents_in(mirror_of(host, "site"), origin)
    assert "the server sent all contents" in caplog.text


def test_a_content_that_the_server_lacks_has_a_code(host: Host, origin: Path) -> None:
    sha = obtain(host, job_on(origin))
    lost = git(origin, "rev-parse", "HEAD:libs/x")
    (origin / ".git/objects" / lost[:2] / lost[2:]).unlink()
    obtain(host, job_on(origin), Cone.of(["shop"]))
    with pytest.raises(EngineError) as caught:
        obtain(host, job_on(origin, base_sha=sha), EVERYTHING)
    assert (caught.value.code, caught.value.stage) == ("content_missing", "checkout")


def test_the_contents_have_the_limit_of_a_fetch(host: Host, origin: Path) -> None:
    write(origin, {"libs/big": os.urandom(3_000_000)})
    commit_all(origin)
    narrow = replace(host, max_fetch_bytes=100_000)
    obtain(narrow, job_on(origin), Cone.of(["shop"]))
    with pytest.raises(EngineError) as caught:
        obtain(narrow, job_on(origin), EVERYTHING)
    assert caught.value.code == "repository_too_large"
    mirror = mirror_of(host, "site")
    assert "libs/big" not in contents_in(mirror, origin) and not list(mirror.glob("objects/pack/tmp_*"))


def test_many_fetches_leave_few_packs_and_the_next_fetch_works(host: Host, origin: Path) -> None:
    mirror = mirror_of(host, "site")
    stream = "reset refs/heads/main\nfrom refs/heads/main^0\n\n"
    for number in range(26):
        stream += "commit refs/heads/main\ncommitter A <a@example.org> 0 +0000\ndata 0\n"
        stream += f"M 644 inline shop/a\ndata <<.\na{number}\n.\nM 644 inline libs/x\ndata <<.\nx{number}\n.\n"
    git(origin, "fast-import", "--quiet", stdin=stream.encode())
    commits = git(origin, "rev-list", "--reverse", "-26", "main").split()
    packs = mirror / "objects/pack"
    for number, commit in enumerate(commits):
        if number % 12 == 0:
            git(origin, "update-ref", "refs/heads/main", commit)
            obtain(host, job_on(origin), Cone.of(["shop"]))
        else:
            # What a fetch brings.
            new = git(origin, "rev-list", "--objects", "--filter=blob:none", f"{commit}^..{commit}")
            git(origin, "pack-objects", "--quiet", str(packs / "pack"), stdin=f"{new}\n".encode())
    assert len(list(packs.glob("*.pack"))) < 20
    git(origin, "reset", "--quiet", "--hard", "HEAD~20")
    obtain(host, job_on(origin), EVERYTHING)
    assert {"shop/a", "libs/x"} <= contents_in(mirror, origin)


def test_a_whole_mirror_becomes_partial_and_whole_again(host: Host, origin: Path) -> None:
    mirror = mirror_of(host, "site")
    whole = job_on(origin, partial_clone=False)
    first = obtain(host, whole)
    write(origin, {"libs/x": "newer x\n", "shop/a": "newer a\n"})
    commit_all(origin)
    obtain(host, job_on(origin), Cone.of(["shop"]))
    assert is_partial(mirror)
    assert "libs/x" not in (there := contents_in(mirror, origin)) and {"shop/a", "libs/x~"} <= there
    obtain(host, replace(whole, base_sha=first))
    assert not is_partial(mirror)
    assert {"libs/x", "libs/x~"} <= contents_in(mirror, origin)
    assert git(mirror, "cat-file", "-t", f"refs/base/{first}") == "commit"
    git(mirror, "fsck", "--connectivity-only")


def test_a_mirror_that_is_used_does_not_become_whole(host: Host, origin: Path) -> None:
    obtain(host, job_on(origin))
    borrower = host.work_dir / "workspaces/one/ours.git/objects/info"
    write(borrower, {"alternates": f"{mirror_of(host, 'site')}/objects\n"})
    write(origin, {"libs/x": "newer\n"})
    commit_all(origin)
    obtain(host, job_on(origin, partial_clone=False))
    assert is_partial(mirror_of(host, "site"))


def test_refreshes_fetch_what_is_new_and_make_whole(host: Host, origin: Path) -> None:
    mirror = Mirror(host, "site", Lifeline(600))
    assert mirror.refresh(job_on(origin)) == git(origin, "rev-parse", "HEAD")
    assert contents_in(mirror.directory, origin) == set()
    assert mirror.refresh(job_on(origin, partial_clone=False)) == git(origin, "rev-parse", "HEAD")
    assert set(FILES) < contents_in(mirror.directory, origin)


def test_a_repository_of_sha_256_works_too(host: Host, tmp_path: Path) -> None:
    origin = make_origin(tmp_path / "other", FILES, "sha256")
    git(origin, "config", "uploadpack.allowFilter", "true")
    obtain(host, job_on(origin), Cone.of(["shop"]))
    assert contents_in(mirror_of(host, "site"), origin) == {"README", "shop/a", *OF_GIT}


PATCHES = {
    "a change": b"diff --git a/libs/x b/libs/x\nindex 1..2 100644\n--- a/libs/x\n+++ b/libs/x\n@@ -1 +1 @@\n-x\n+y\n",
    "a removal": b"diff --git a/libs/x b/libs/x\ndeleted file mode 100644\n--- a/libs/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n",
    "a new mode": b"diff --git a/libs/x b/libs/x\nold mode 100644\nnew mode 100755\n",
    "a rename": b"diff --git a/libs/x b/y\nsimilarity index 100%\nrename from libs/x\nrename to y\n",
    "a quoted name": b'diff --git "a/libs/\\303\\266 \\t" b/y\nsimilarity index 100%\nrename from "libs/\\303\\266 \\t"\nrename to y\n',
    "a name with spaces": b"diff --git a/libs/a b/c b/libs/a b/c\nold mode 100644\nnew mode 100755\n",
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES.keys())
def test_what_a_patch_changes_is_obtained(host: Host, tmp_path: Path, patch: bytes) -> None:
    names = {"a quoted name": "libs/ö \t", "a name with spaces": "libs/a b/c"}
    name = next((names[kind] for kind in names if PATCHES[kind] == patch), "libs/x")
    origin = make_large(tmp_path / "origin", {name: "x\n", "other": "other\n"})
    git(origin, "config", "core.quotePath", "false")
    job = job_on(origin)
    sha = obtain(host, job)
    Mirror(host, "site", job.lifeline).contents(job).of_patch(sha, io.BytesIO(patch))
    assert git(mirror_of(host, "site"), "cat-file", "-p", f"{sha}:{name}") == "x"
    with pytest.raises(AssertionError):
        git(mirror_of(host, "site"), "cat-file", "-p", f"{sha}:other")


def test_names_in_a_patch_take_little_memory(host: Host, origin: Path) -> None:
    job = job_on(origin)
    sha = obtain(host, job)
    removed = "".join(f"--- libs/{number}/{'a/' * 2000}\n" for number in range(20))
    tracemalloc.start()
    try:
        Mirror(host, "site", job.lifeline).contents(job).of_patch(sha, io.BytesIO(removed.encode()))
        assert tracemalloc.get_traced_memory()[1] < 5 * 1024**2
    finally:
        tracemalloc.stop()


def test_nothing_is_obtained_to_publish_a_patch_that_is_too_large(host: Host, origin: Path) -> None:
    job = job_on(origin)
    sha = obtain(host, job)
    contents = Mirror(host, "site", job.lifeline).contents(job)
    with (
        temporary_repository(host, contents, (), job.lifeline) as commits,
        pytest.raises(EngineError, check=lambda error: error.code == "diff_too_large"),
    ):
        commits.tree(sha, lambda: iter([TOO_LARGE]))
    assert contents_in(mirror_of(host, "site"), origin) == set()
