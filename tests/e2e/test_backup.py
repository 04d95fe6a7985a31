"""The recipes of docs/operating.md that back up a deployment, restore it elsewhere, and trim it."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.cli.deployment.migrate import upgrade
from app.config import settings
from app.models.states import Scope
from app.services.accounts import accounts
from app.services.callers import Caller
from app.services.sites import sites
from app.services.sites.site_secrets import credential_of
from app.services.sites.sites import SiteFields
from tasks.sessions import run_session
from tests.asking import new_runner, new_session
from tests.postgres import postgres_database
from tests.tasks.conftest import read, runner_of
from tests.test_operating_page import recipe, sh
from tests.workers.repositories import make_origin


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """The kind of a database, the URL of the one in use, and that of an empty one; SQLite needs no URL."""
    if request.param == "sqlite":
        yield "sqlite", "", ""
    else:
        with postgres_database() as used, postgres_database() as empty:
            yield "postgresql", used, empty


def use(configure: Callable[..., None], data: Path, url: str, repositories: Path) -> None:
    configure(DATA_DIR=str(data), DATABASE_URL=url, SECRET_KEY="", SANDBOX="none", LOCAL_REPOSITORIES=str(repositories))
    db.configure(settings().database)


def for_tools(url: str) -> str:
    """The URL as the programs of Postgres take it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def test_a_backup_that_is_restored_elsewhere_can_be_followed_up(
    databases: tuple[str, str, str], configure: Callable[..., None], tmp_path: Path
) -> None:
    kind, used, empty = databases
    data, backup, restored = tmp_path / "in-use", tmp_path / "backup" / "today", tmp_path / "restored"
    origin = make_origin(tmp_path / "origin", {"a.txt": "a\n"})
    use(configure, data, used, tmp_path)
    upgrade(settings())
    with db.transaction():
        user, _ = accounts.create("Ada's team", "ada@example.org", "Ada")
        ada = Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)
        site = sites.create(ada, SiteFields(repo_url=str(origin), access_token="token-of-the-forge"))
        first = new_runner(ada, site.id, "echo first > b.txt", agent="shell").latest_session_id
    run_session(str(first))

    sh(recipe(f"backup {kind}"), DATA=str(data), BACKUP=str(backup), DATABASE=for_tools(used))
    assert backup.stat().st_mode & 0o077 == 0, "a backup holds secrets"
    shutil.rmtree(data)
    use(configure, restored, empty, tmp_path)
    sh(recipe(f"restore {kind}"), DATA=str(restored), BACKUP=str(backup), DATABASE=for_tools(empty))

    # All that ended before tomorrow: SQLite's clock has whole seconds, and the session ended in this one.
    trim = recipe(f"trim {kind}").replace("'-90 days'", "'+1 days'").replace("'90 days'", "'-1 days'")
    with db.transaction():
        assert db.session.execute(sa.text(trim)).rowcount > 0
    with db.transaction():
        second = new_session(ada, runner_of(first).id, "cat b.txt; echo second >> b.txt", agent="shell").id
    run_session(str(second))
    session = read(second)
    assert session.state == "DONE", session.failure
    with db.transaction(read_only=True):
        assert credential_of(sites.get(ada, site.id)) == "token-of-the-forge"
    stored = artifacts.store().read(session.cumulative_diff_key)
    assert b"+first\n+second\n" in b"".join(stored)
