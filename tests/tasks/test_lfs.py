"""Large files of Git LFS from session to session, through reverts and rebases, until they are published."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.models import SessionFile
from app.models.states import Forge, SessionState
from app.services.artifacts import garbage, lfs_objects
from app.services.runners import agent_runner_sessions, head
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tasks.sessions import run_session
from tests.cli.conftest import folder
from tests.demo.forge import DemoForge, Repository
from tests.tasks.conftest import read, runner_of
from tests.tasks.test_publishing import ada_of, commit, follow_up
from tests.workers.lfs.repositories import BIG, oid_of, pointer, stored, with_lfs

__all__ = ["folder"]
NEW = b"new content\n" * 5
WRITE_NEW = "yes 'new content' | head -n 5 > new.bin"


class Work:
    """A runner on a repository with Git LFS, whose first session added `new.bin`."""

    def __init__(
        self, ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge, hosts: Path
    ) -> None:
        self._configure, self._hosts, self._numbers = configure, hosts, itertools.count(1)
        self.first = ask(WRITE_NEW)
        self.repository: Repository = with_lfs(forge, f"large-{self.first.hex}")
        there = SiteFields(
            repo_url=forge.clone_url(self.repository.full_name), forge=Forge.NONE, access_token=forge.token
        )
        with db.transaction():
            sites.update(ada_of(self.first), runner_of(self.first).site_id, there)
        run_session(str(self.first))
        assert read(self.first).state == SessionState.DONE, read(self.first).failure

    def on_another_worker(self) -> None:
        """Go on with a worker that has nothing of the repository."""
        self._configure(WORK_DIR=str(self._hosts / str(next(self._numbers))))

    def expects(self, path: str, content: bytes) -> None:
        """A session that fails unless the file has this content."""
        session = read(follow_up(self.first, f"echo '{oid_of(content)}  {path}' | sha256sum --check"))
        assert session.state == SessionState.DONE, session.failure


@pytest.fixture
def work(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge, tmp_path: Path) -> Work:
    configure(ALLOW_HTTP="1", ALLOW_PRIVATE_ADDRESSES="1")
    return Work(ask, configure, forge, tmp_path / "hosts")


def test_a_large_file_reaches_follow_ups_on_other_workers_and_the_server(work: Work) -> None:
    work.on_another_worker()
    work.expects("new.bin", NEW)
    work.expects("assets/big.bin", BIG)
    assert stored(work.repository) == {oid_of(BIG)}

    commit(work.first, target_branch="work", squash=True)

    assert stored(work.repository) == {oid_of(BIG), oid_of(NEW)}
    assert work.repository.git("show", "work:new.bin") == pointer(NEW)


def test_a_revert_brings_a_large_file_back_and_a_rebase_keeps_it(work: Work) -> None:
    follow_up(work.first, "printf x >> new.bin")
    with db.transaction():
        head.revert(ada_of(work.first), runner_of(work.first).id, work.first)
    work.on_another_worker()
    work.expects("new.bin", NEW)

    work.repository.commit("main", {"other.txt": "other"}, "Others")
    with db.transaction():
        session = agent_runner_sessions.rebase(ada_of(work.first), runner_of(work.first).id)
    run_session(str(session.id))
    work.on_another_worker()
    work.expects("new.bin", NEW)
    work.expects("other.txt", b"other")


def test_the_content_is_kept_as_long_as_a_session_refers_to_it(work: Work, configure: Callable[..., None]) -> None:
    key = lfs_objects.key_of(runner_of(work.first).id, oid_of(NEW))
    configure(ORPHAN_SECONDS="0")
    garbage.collect()
    assert artifacts.store().stat(key)

    with db.transaction():
        db.session.execute(sa.delete(SessionFile).where(SessionFile.session_id == work.first))
    garbage.collect()
    assert artifacts.store().stat(key) is None
