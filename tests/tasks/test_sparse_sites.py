"""A site with `sparse_paths`, from its first session to what is published."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import db
from app.models import Event
from app.models.states import SessionState
from app.services.runners import head
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tasks.sessions import run_session
from tests.tasks.conftest import read, runner_of
from tests.tasks.test_base_drift import diff_of, others_commit, rebase, rebase_by_agent
from tests.tasks.test_publishing import ada_of, commit, follow_up
from tests.workers.repositories import git

Ask = Callable[..., uuid.UUID]


@pytest.fixture
def origin(tmp_path: Path, ask: Ask) -> Path:
    origin = tmp_path / "origin"
    others_commit(origin, {"shop/s.txt": "s\n", "libs/x.txt": "x\n", "libs/y.txt": "y\n"})
    return origin


def limited(session_id: uuid.UUID, *paths: str) -> None:
    """Change the folders that the site of a session checks out."""
    with db.transaction():
        sites.update(ada_of(session_id), runner_of(session_id).site_id, SiteFields(sparse_paths=list(paths)))


@pytest.fixture
def first(ask: Ask, origin: Path) -> uuid.UUID:
    """A session that changed a file in the folder, and one that it did not see."""
    session_id = ask("test ! -e libs; echo ours >> shop/s.txt; mkdir libs; echo ours > libs/x.txt")
    limited(session_id, "shop", "shpo")
    run_session(str(session_id))
    assert read(session_id).state == SessionState.DONE, read(session_id).failure
    return session_id


def steps(session_id: uuid.UUID) -> list[str]:
    with db.transaction(read_only=True):
        rows = db.session.scalars(sa.select(Event).where(Event.session_id == session_id, Event.kind == "step")).all()
        return [str(row.payload) for row in rows]


def test_missing_folders_are_named_and_what_is_published_has_the_rest(first: uuid.UUID, origin: Path) -> None:
    [named] = [step for step in steps(first) if "Folders of sparse_paths are missing" in step]
    assert "shpo" in named
    limited(first, "libs")
    follow_up(first, "grep ours shop/s.txt libs/x.txt && grep y libs/y.txt && echo more >> libs/y.txt")
    with db.transaction():
        head.revert(ada_of(first), runner_of(first).id, first)
    limited(first)
    again = follow_up(first, "! grep more libs/y.txt && grep ours libs/x.txt")
    assert read(again).state == SessionState.DONE, read(again).failure
    follow_up(first, "echo more >> libs/y.txt")
    assert commit(first, target_branch="shared").error is None
    shown = {
        name: git(origin, "show", f"shared:{name}") for name in ("a.txt", "shop/s.txt", "libs/x.txt", "libs/y.txt")
    }
    assert shown == {"a.txt": "a", "shop/s.txt": "s\nours", "libs/x.txt": "ours", "libs/y.txt": "y\nmore"}


def test_conflicts_outside_of_the_folders_are_there_to_be_resolved(first: uuid.UUID, origin: Path) -> None:
    others_commit(origin, {"libs/x.txt": "theirs\n", "libs/y.txt": "newer\n"})
    refused = rebase(first)
    assert refused.failure is not None and "same places: libs/x.txt." in refused.failure["message"]
    rebased = rebase_by_agent(first, "test ! -e libs/y.txt; grep '<<<<<<<' libs/x.txt; echo both > libs/x.txt")
    assert rebased.state == SessionState.DONE, steps(rebased.id)
    diff = diff_of(runner_of(first).diff_key)
    assert "-theirs\n+both\n" in diff and "libs/y.txt" not in diff
