"""Sites without a token of their own, on a forge where the operator's GitHub App is installed."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.demo.forge import checks
from app.models import AgentRunner, Event, Publication
from app.models.states import Forge, PullRequestState, Scope, SessionState
from app.services.accounts import accounts
from app.services.callers import Caller
from app.services.preflights import preflights
from app.services.publishing import publications
from app.services.sites import github_apps, sites
from app.services.sites.sites import SiteFields
from tasks.preflights import run_preflight
from tasks.publications import check_pull_requests, publish
from tasks.sessions import run_session
from tests.asking import new_runner
from tests.demo.apps import ID, PERMISSIONS, RegisteredApp
from tests.demo.forge import DemoForge, Repository
from tests.tasks.conftest import read, runner_of


class Deployment:
    """A deployment with the App, and an account with a site for the private repository `acme/shop`."""

    def __init__(self, forge: DemoForge, app: RegisteredApp, configure: Callable[..., None]) -> None:
        self.forge, self.app, self._configure = forge, app, configure
        app.install({"owner": "acme"})
        self.configure()
        with db.transaction():
            user, _ = accounts.create("Ada's team", "ada@example.org", "Ada")
            self.ada = Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)
            there = SiteFields(repo_url=forge.clone_url("acme/shop"), forge=Forge.GITHUB)
            self.site_id = sites.create(self.ada, there).id
        self.configure(f"{self.ada.account_id}=Acme/shop")

    def configure(self, grants: str = "", **more: str) -> None:
        self._configure(
            SANDBOX="none",
            ALLOW_HTTP="1",
            ALLOW_PRIVATE_ADDRESSES="1",
            GITHUB_APP_ID=ID,
            GITHUB_APP_KEY_FILE=str(self.app.key_file),
            GITHUB_APP_URL=self.forge.url,
            GITHUB_APP_GRANTS=grants,
            **more,
        )

    def run(self, script: str) -> Any:
        with db.transaction():
            runner = new_runner(self.ada, self.site_id, script, agent="shell")
            assert runner.latest_session_id is not None
            session_id = runner.latest_session_id
        run_session(str(session_id))
        return read(session_id)

    def publish(self, session: Any) -> Any:
        runner = runner_of(session.id)
        with db.transaction():
            publications.request_pull_request(self.ada, runner.id, {})
            mine = sa.select(Publication).where(Publication.agent_runner_id == runner.id)
            asked = db.session.scalars(mine).one()
        publish(str(asked.id))
        return runner_of(session.id)

    def checks(self) -> dict[str, str]:
        with db.transaction():
            asked = preflights.request(self.ada, self.site_id, agent="shell", branch=None, run_setup=False)
        run_preflight(str(asked.row.id))
        with db.transaction(read_only=True):
            found = preflights.get(self.ada, self.site_id, asked.row.id).checks
        wanted = ("token", "repository", "push", "forge")
        return {check["name"]: check["code"] or check["status"] for check in found if check["name"] in wanted}


@pytest.fixture
def app(forge: DemoForge, tmp_path: Path) -> Iterator[RegisteredApp]:
    """It is taken away again, since other tests use the forge too."""
    registered = RegisteredApp(forge, tmp_path)
    yield registered
    registered.remove()


@pytest.fixture
def shop(forge: DemoForge) -> Iterator[Repository]:
    """The private repository, for one test."""
    made = forge.make_repository("acme", "shop", {"a.txt": "a\n"}, private=True)
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture
def deployment(
    record: Any, forge: DemoForge, app: RegisteredApp, shop: Repository, configure: Callable[..., None]
) -> Deployment:
    return Deployment(forge, app, configure)


def test_a_private_repository_is_read_published_and_followed_without_a_token(
    deployment: Deployment, shop: Repository, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert deployment.checks() == dict.fromkeys(["token", "repository", "push", "forge"], "ok")
    with db.transaction():
        sites.update(deployment.ada, deployment.site_id, SiteFields(pr_status=True))
    done = deployment.run("echo b >> a.txt; env; git config -l --show-origin; cat .git/config")
    assert done.state == SessionState.DONE, done.failure
    after = deployment.publish(done)
    assert after.pr_state == PullRequestState.OPEN, after.pr_error
    [warning] = after.pr_warnings
    assert warning.startswith("The commit status was not set. The token may lack that permission.")
    [pull] = deployment.forge.pulls("acme/shop")
    checks.report(shop, pull["head"]["sha"], "tests", "failure")

    def look() -> AgentRunner:
        with db.transaction():
            db.session.execute(sa.update(AgentRunner).values(pr_check_due_at=db.now(-1)))
        check_pull_requests()
        return runner_of(done.id)

    assert look().pr_check_results["failed"] == 1
    deployment.forge.merge("acme/shop", pull["number"])
    assert look().pr_state == PullRequestState.MERGED

    deployment.app.install({"owner": "acme", "permissions": {**PERMISSIONS, "statuses": "write"}})
    more = deployment.run("echo c >> a.txt")
    assert deployment.publish(more).pr_warnings is None
    with db.transaction(read_only=True):
        shown = [str(event.payload) for event in db.session.scalars(sa.select(Event))]
    seen = f"{shown}{done.result}{more.result}{caplog.text}{capfd.readouterr()}"
    assert "DONE" in seen and "ghs_" not in seen and "PRIVATE KEY" not in seen and "eyJ" not in seen


def test_another_account_gets_nothing_of_it(deployment: Deployment) -> None:
    other = uuid.uuid4()
    for grants in ("", f"{other}=acme", f"{deployment.ada.account_id}=acme/other,*=widgets"):
        deployment.configure(grants)
        failed = deployment.run("true")
        assert (failed.state, failed.failure["code"]) == (SessionState.ERROR, "repository_auth")
    assert deployment.checks()["token"] == "no_token"
    deployment.configure("*=acme")
    assert deployment.run("true").state == SessionState.DONE


def test_where_it_is_not_installed_sessions_and_preflights_say_so(deployment: Deployment) -> None:
    deployment.app.install()
    failed = deployment.run("true")
    assert failed.failure["code"] == "forge_app_not_installed" and failed.failure["stage"] == "checkout"
    missing = "forge_app_not_installed"
    assert deployment.checks() == {"token": "ok", "repository": missing, "push": "skipped", "forge": missing}


def test_it_is_only_for_its_own_server_and_sites_without_a_token(deployment: Deployment) -> None:
    """The site's members choose its addresses, and nothing of the App may go to another server."""
    deployment.configure("*=acme", ALLOW_SSH="1")
    url, host = deployment.forge.url, deployment.forge.url.partition("//")[2]
    for fields, found in (
        ({}, "acme/shop"),
        ({"access_token": "of its own"}, None),
        ({"access_token": None}, "acme/shop"),
        ({"forge_api_url": "http://127.0.0.1:1/api/v3"}, None),
        ({"forge_api_url": None}, "acme/shop"),
        ({"repo_url": "http://127.0.0.1:1/acme/shop.git"}, None),
        ({"repo_url": f"{url.replace('http:', 'https:')}/acme/shop.git"}, None),
        ({"repo_url": f"{url}/acme/shop/more.git"}, None),
        ({"repo_url": f"{url}/acme-inc/shop.git"}, None),
        ({"repo_url": f"http://{host.upper()}/ACME/Shop/"}, "ACME/Shop"),
        ({"repo_url": "ssh://git@127.0.0.1:22/acme/shop.git"}, "acme/shop"),
        ({"repo_url": "ssh://git@localhost/acme/shop.git"}, None),
        ({"repo_url": f"{url}/acme/shop.git", "forge": Forge.GITEA}, None),
    ):
        with db.transaction():
            site = sites.update(deployment.ada, deployment.site_id, SiteFields(**fields))
            assert github_apps.find_repository(site) == found, fields
