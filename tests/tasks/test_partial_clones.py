"""A site with `partial_clone`, over HTTP: from its first session to what is published, through reverts and rebases."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from app import db
from app.models.states import Forge, PublicationState, SessionState
from app.services.runners import head
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tasks.jobs.host import this_host
from tasks.sessions import run_session
from tests.demo.forge import DemoForge, Repository
from tests.matrix import usual
from tests.tasks.conftest import read, runner_of
from tests.tasks.test_base_drift import diff_of, rebase, rebase_by_agent, refreshed
from tests.tasks.test_comparisons import compared
from tests.tasks.test_publishing import ada_of, commit, follow_up
from tests.workers.partial import mirror_of
from tests.workers.repositories import git

Ask = Callable[..., uuid.UUID]
LARGE = 100_000
LINES = "".join(f"line {number}\n" for number in range(1, 21))


@functools.cache
def large(forge: DemoForge) -> Repository:
    """A repository with a history of large files, to be copied."""
    made = forge.make_repository("ada", "large", {"shop/s.txt": "old\n"})
    for number in range(4):
        made.commit("main", {f"libs/{name}.bin": os.urandom(LARGE) for name in "ab"}, f"Number {number}")
    files = {"shop/s.txt": "s\n", "libs/x.txt": LINES, "libs/y.txt": "y\n", "libs/.gitignore": "*.o\n"}
    made.commit("main", files, "The newest")
    return made


class Work:
    """A runner on a large repository, whose first session changed a file in its folder, and one that it did not see."""

    def __init__(self, ask: Ask, forge: DemoForge, paths: tuple[str, ...]) -> None:
        self.first = ask("echo ours >> shop/s.txt; mkdir -p libs; { seq -f 'line %g' 20; echo ours; } > libs/x.txt")
        self.repository = forge.copy(large(forge), f"large-{self.first.hex}")
        url = forge.clone_url(self.repository.full_name)
        self.change(
            repo_url=url,
            forge=Forge.NONE,
            access_token=forge.token,
            partial_clone=True,
            sparse_paths=paths,
            protected_branches=[],
        )
        run_session(str(self.first))
        self.expect_done(self.first)

    @property
    def mirror(self) -> Path:
        return mirror_of(this_host(), str(runner_of(self.first).site_id))

    @property
    def bytes_fetched(self) -> int:
        return sum(pack.stat().st_size for pack in self.mirror.glob("objects/pack/*.pack"))

    def change(self, **fields: object) -> None:
        with db.transaction():
            sites.update(ada_of(self.first), runner_of(self.first).site_id, SiteFields(**fields))  # type: ignore[arg-type]

    def others_commit(self, files: dict[str, str | bytes], message: str = "Others") -> str:
        return self.repository.commit("main", files, message)

    def expect_done(self, session_id: uuid.UUID) -> None:
        session = read(session_id)
        assert session.state == SessionState.DONE, session.failure

    def follow(self, script: str) -> uuid.UUID:
        session_id = follow_up(self.first, script)
        self.expect_done(session_id)
        return session_id

    def shown(self, branch: str, *names: str) -> list[str]:
        return [self.repository.git("show", f"{branch}:{name}") for name in names]

    def has(self, name: str) -> bool:
        """Whether the content of a file of the branch is in the mirror."""
        id = self.repository.git("rev-parse", f"main:{name}").strip()
        return not git(self.mirror, "cat-file", "--batch-check", stdin=f"{id}\n".encode()).endswith("missing")


@pytest.fixture
def allowed(configure: Callable[..., None]) -> None:
    configure(ALLOW_HTTP="1", ALLOW_PRIVATE_ADDRESSES="1")


@pytest.fixture
def work(request: pytest.FixtureRequest, ask: Ask, allowed: None, forge: DemoForge) -> Work:
    return Work(ask, forge, getattr(request, "param", ("shop",)))


SITES = [pytest.param(("shop",), id="folders"), pytest.param((), id="everything")]


@pytest.mark.parametrize("work", SITES, indirect=True)
def test_only_what_is_needed_is_fetched(work: Work) -> None:
    is_sparse = work.bytes_fetched < LARGE
    assert is_sparse == (not work.has("libs/a.bin")) == (not work.has("libs/y.txt"))
    assert work.bytes_fetched < 3 * LARGE, "nothing of the history"
    assert work.has("shop/s.txt") and work.has("libs/.gitignore")
    assert "http" not in (work.mirror / "config").read_text()
    work.change(partial_clone=False)
    work.others_commit({"new": "new\n"})
    refreshed(work.first)
    assert work.bytes_fetched > 8 * LARGE and git(work.mirror, "fsck", "--connectivity-only") is not None


@pytest.mark.parametrize("work", usual(SITES), indirect=True)
def test_sessions_follow_and_revert_and_the_work_is_published(work: Work, forge: DemoForge) -> None:
    second = work.follow(
        "grep ours libs/x.txt && echo more >> shop/s.txt && git status --short && git commit -qam more"
    )
    with db.transaction():
        head.revert(ada_of(work.first), runner_of(work.first).id, work.first)
    work.follow("! grep more shop/s.txt && echo again >> shop/s.txt")
    assert "ours" in diff_of(read(second).cumulative_diff_key)
    published = commit(work.first, target_branch="new")
    assert published.state == PublicationState.DONE, published.error
    assert work.shown("new", "shop/s.txt", "libs/x.txt", "libs/y.txt") == ["s\nours\nagain\n", LINES + "ours\n", "y\n"]
    # Others have pushed to the branch, and to the one that the runner started from.
    work.others_commit({"libs/a.bin": os.urandom(LARGE), "libs/x.txt": LINES + "ours\n"})
    work.repository.commit("new", {"libs/y.txt": "theirs\n"}, "Others")
    work.follow("echo last >> shop/s.txt")
    for squash in (False, True):
        published = commit(work.first, target_branch="new", squash=squash)
        assert published.state == PublicationState.DONE, published.error
    assert work.shown("new", "shop/s.txt", "libs/y.txt") == ["s\nours\nagain\nlast\n", "theirs\n"]
    assert commit(work.first, target_branch="main").state == PublicationState.DONE
    assert work.shown("main", "shop/s.txt", "libs/x.txt") == ["s\nours\nagain\nlast\n", LINES + "ours\n"]


def test_the_work_follows_its_branch_and_renames_and_is_compared_and_pushed_after_a_rewrite(work: Work) -> None:
    work.others_commit({"libs/z.txt": "z\n"})
    runner = refreshed(work.first)
    assert (runner.behind_by, runner.mergeable, runner.conflicts) == (1, True, [])

    # A rebase follows renames, and its conflicts are resolved.
    work.others_commit({"shop/s.txt": "s\ntheirs\n"})
    move(work.repository, "libs/x.txt", "libs/moved.txt", LINES.replace("line 9", "line nine"))
    resolved = rebase_by_agent(work.first, "grep '<<<<<<<' shop/s.txt; printf 's\\nboth\\n' > shop/s.txt")
    assert resolved.state == SessionState.DONE, resolved.failure
    diff = diff_of(runner_of(work.first).diff_key)
    assert "-theirs\n+both\n" in diff and "+++ b/libs/moved.txt\n" in diff and " line nine\n" not in diff
    assert "+ours\n" in diff and "libs/x.txt" not in diff

    # Sessions on different bases are compared.
    work.others_commit({"libs/y.txt": "newer\n", "libs/new.txt": "new\n"})
    rebased = rebase(work.first)
    assert rebased.state == SessionState.DONE, rebased.failure
    diff = diff_of(compared(resolved.id, rebased.id).diff_key)
    assert "-y\n+newer\n" in diff and "+new\n" in diff and "shop/s.txt" not in diff

    work.others_commit({"libs/moved.txt": "theirs\n"})
    runner = refreshed(work.first)
    assert (runner.behind_by, runner.mergeable, runner.conflicts) == (1, False, ["libs/moved.txt"])
    refused = rebase(work.first)
    assert refused.failure is not None and "same places: libs/moved.txt." in refused.failure["message"]

    # A branch that was rewritten is no obstacle to a push.
    git(work.repository.folder, "update-ref", "refs/heads/main", "main~2")
    published = commit(work.first, target_branch="new")
    assert published.state == PublicationState.DONE, published.error
    assert work.shown("new", "shop/s.txt") == ["s\nboth\n"]


def move(repository: Repository, old: str, new: str, content: str) -> None:
    """Move a file on the branch, with this content."""
    stream = (
        "commit refs/heads/main\ncommitter Somebody <somebody@example.com> now\ndata 4\nMove\nfrom refs/heads/main^0\n"
    )
    stream += f"D {old}\nM 100644 inline {new}\ndata {len(content)}\n{content}\n"
    git(repository.folder, "fast-import", "--quiet", "--date-format=now", stdin=stream.encode())
