"""Which repositories a host fetches ahead of sessions, and when it does so again."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from app import db
from app.config import settings
from app.models import AgentRunner, Site, SiteBranches
from app.models.states import Execution, Scope
from app.services.accounts import accounts
from app.services.callers import Caller
from app.services.sites import activity, sites
from app.services.sites.sites import SiteFields
from tasks.background import start_in_background
from tasks.startup.mirrors import refresh_mirrors
from tests.program import fresh_processes
from tests.tasks.conftest import read

DATABASE = "AGENT_RUNNERS_DATABASE_URL"
LONG_SECONDS = 3 * 86_400.0


def fetched() -> list[str]:
    """What is fetched now, each time with its outcome."""
    with structlog.testing.capture_logs() as lines:
        refresh_mirrors()
    return [line["event"] for line in lines if line["event"].startswith("mirror_")]


def change_site(**values: object) -> None:
    with db.transaction():
        db.session.execute(sa.update(Site).values(**{"updated_at": Site.updated_at, **values}))


@pytest.fixture
def new_site(ask: Callable, configure: Callable) -> None:
    """A site without sessions: `ask` makes one for its sessions."""
    configure(MIRROR_REFRESH_SECONDS="600")


@pytest.mark.usefixtures("new_site")
def test_a_new_site_is_fetched_once_and_again_when_it_is_due(configure):
    assert fetched() == ["mirror_refreshed"]
    [mirror] = [path for path in (settings().work / "mirrors").iterdir() if path.is_dir()]
    assert list((settings().work / "bases" / mirror.name).iterdir())
    with db.transaction(read_only=True):
        assert db.session.scalars(sa.select(SiteBranches.names)).one() == ["main"]
    assert fetched() == []
    change_site(updated_at=db.now(60))
    assert fetched() == ["mirror_refreshed"], "its address or token may be another one"
    stamp = mirror.with_name(f"{mirror.name}.refreshed")
    stamp.write_text(json.dumps([json.loads(stamp.read_text())[0], time.time() - 1]))
    assert fetched() == ["mirror_refreshed"]


@pytest.mark.parametrize("values", [{"deleted_at": db.now()}, {"execution": Execution.EXTERNAL}])
@pytest.mark.usefixtures("new_site")
def test_a_site_that_no_worker_here_works_on_is_not_fetched(values):
    change_site(**values)
    assert fetched() == []


@pytest.mark.usefixtures("new_site")
def test_what_is_kept_for_a_site_is_removed_a_day_after_its_deletion():
    fetched()
    mirrors = settings().work / "mirrors"
    assert len(list(mirrors.iterdir())) > 1
    change_site(deleted_at=db.now(-3600))
    fetched()
    assert len(list(mirrors.iterdir())) > 1
    change_site(deleted_at=db.now(-LONG_SECONDS))
    fetched()
    assert [path.name for path in mirrors.iterdir()] == ["refresh.lock"]
    assert list((settings().work / "bases").iterdir()) == []


@pytest.mark.usefixtures("new_site")
def test_a_site_is_fetched_while_it_is_used(ask):
    session_id = ask("true")
    change_site(updated_at=db.now(-LONG_SECONDS))
    assert fetched() == ["mirror_refreshed"]
    with db.transaction():
        db.session.execute(sa.update(AgentRunner).values(last_session_created_at=db.now(-LONG_SECONDS)))
    (settings().work / "mirrors" / f"{read(session_id).site_id}.refreshed").unlink()
    assert fetched() == []


@pytest.mark.usefixtures("new_site")
def test_what_cannot_be_fetched_is_not_tried_again_until_the_site_is_changed(tmp_path: Path):
    (tmp_path / "origin").rename(tmp_path / "gone")
    assert fetched() == ["mirror_not_refreshed"]
    assert fetched() == []
    (tmp_path / "gone").rename(tmp_path / "origin")
    change_site(updated_at=db.now(60))
    assert fetched()[0] == "mirror_refreshed"


@pytest.mark.usefixtures("new_site")
def test_the_sites_of_one_account_do_not_keep_back_those_of_another(tmp_path: Path):
    repository = SiteFields(repo_url=str(tmp_path / "origin"), default_branch="main")
    with db.transaction():
        first = db.session.scalars(sa.select(Site)).one()
        user, _ = accounts.create("Mallory", "mallory@example.org", "Mallory")
        mallory = Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)
        for _ in range(4):
            sites.create(mallory, repository)
    with db.transaction(read_only=True):
        assert {site.account_id for site in activity.find_recently_used(2)} == {first.account_id, user.account_id}
    assert fetched() == ["mirror_refreshed"] * 5
    stamps = {path.stem: path.stat().st_mtime_ns for path in (settings().work / "mirrors").glob("*.refreshed")}
    assert str(first.id) in sorted(stamps, key=stamps.__getitem__)[:2]


@pytest.mark.usefixtures("new_site")
def test_one_process_of_a_host_fetches_at_a_time():
    folder = settings().work / "mirrors"
    folder.mkdir(parents=True)
    lock = os.open(folder / "refresh.lock", os.O_CREAT | os.O_WRONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert fetched() == []
    os.close(lock)
    assert fetched() == ["mirror_refreshed"]


def work(environment: dict[str, str]) -> None:
    """Be a worker that fetches ahead, and has nothing else to do."""
    os.environ.update(environment)
    start_in_background("tasks.startup.mirrors", ends_with_us=True)
    threading.Event().wait()


@pytest.mark.same_on_both_databases
@pytest.mark.usefixtures("new_site")
def test_a_fetch_ends_with_the_worker(configure):
    configure(MIRROR_REFRESH_SECONDS="600", ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    with socket.create_server(("127.0.0.1", 0)) as slow:
        slow.settimeout(60)
        change_site(repo_url=f"http://127.0.0.1:{slow.getsockname()[1]}/repository")
        worker = fresh_processes.Process(target=work, args=({**os.environ, DATABASE: settings().database},))
        worker.start()
        try:
            # The first connection only shows that the server answers.
            slow.accept()[0].close()
            connection, _ = slow.accept()
            connection.settimeout(60)
            assert b"info/refs" in connection.recv(4096)
        finally:
            worker.kill()
            worker.join()
        assert connection.recv(4096) == b"", "git goes on"
        connection.close()
