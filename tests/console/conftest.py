"""The console as a browser sees it that only reads pages and sends forms. `tests/e2e/browser` opens it in Chromium."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.api.calling import Person
from tests.api.conftest import ada, api, app, follow_up, join, make_done_runner, make_runner, make_site, worker
from tests.console.browser import Browser

__all__ = ["ada", "api", "app", "follow_up", "join", "make_done_runner", "make_runner", "make_site", "worker"]


@pytest.fixture
def sign_in(app: Flask) -> Callable[[Person], Browser]:
    """Sign a person in with a browser of their own."""

    def begin(person: Person) -> Browser:
        browser = Browser(app.test_client())
        response = browser.post("/sign-in", token=person.admin.token)
        assert response.status_code == 303, response.text
        return browser

    return begin


@pytest.fixture
def browser(ada: Person, sign_in: Callable[[Person], Browser]) -> Browser:
    """Ada's browser."""
    return sign_in(ada)
