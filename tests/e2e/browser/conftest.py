"""The console in Chromium, and the web process that serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import playwright.sync_api
import pytest
from playwright.sync_api import Page

from app.artifacts import LocalStore
from tests import patiently
from tests.api.calling import Api, created
from tests.api.conftest import ada, api, app, follow_up, join, make_done_runner, make_runner, make_site, worker
from tests.deployment import Deployment, wait_for
from tests.e2e.browser.chromium import Windows, require_chromium, running_chromium
from tests.ports import free_port

__all__ = ["ada", "api", "app", "follow_up", "join", "make_done_runner", "make_runner", "make_site", "worker"]


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that the tests and the web process share."""
    folder = tmp_path_factory.mktemp("artifacts")
    LocalStore(folder, "http://testserver").set_up()
    return folder


@pytest.fixture(scope="session")
def server(database_url: str, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a web process on the tests' database."""
    nowhere = "redis+socket:///nonexistent/broker.sock?virtual_host=0"
    folder = tmp_path_factory.mktemp("console")
    shared = {"BROKER_URL": nowhere, "ARTIFACTS_DIR": str(artifacts)}
    deployment = Deployment(folder, database_url, free_port(), forked=True, **shared)
    (folder / "tmp").mkdir()
    try:
        deployment.start("web", "web")
        wait_for("the console", lambda: patiently.get(f"{deployment.url}/readyz").status_code == 200)
        yield deployment.url
    finally:
        deployment.stop_all()


@pytest.fixture(scope="package")
def chromium() -> Iterator[playwright.sync_api.Browser]:
    require_chromium()
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def windows(
    chromium: playwright.sync_api.Browser, server: str, artifacts: Path, configure: Callable[..., None]
) -> Iterator[Windows]:
    configure(ARTIFACTS_DIR=str(artifacts))
    opened = Windows(chromium, server)
    yield opened
    opened.close()


@pytest.fixture
def sign_in_link(api: Api) -> Callable[[], str]:
    """Make a link that signs Ada in once; its path."""
    return lambda: created(api.post("/console_links"))["url"].removeprefix("http://testserver")


@pytest.fixture
def open_console(windows: Windows, sign_in_link: Callable[[], str]) -> Callable[..., Page]:
    """Open a console that is signed in."""

    def begin(**options: Any) -> Page:
        page = windows.open(**options)
        page.goto(sign_in_link())
        page.wait_for_url(f"{windows.url}/")
        return page

    return begin
