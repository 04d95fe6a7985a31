"""What lists show however narrow the terminal is, and never. What they print exactly is in `test_transcript.py`."""

from __future__ import annotations

import pytest

from app import db
from app.client import Client
from app.models.states import Scope
from app.services.accounts import tokens
from tests.cli.remote.conftest import Run

pytestmark = pytest.mark.same_on_both_databases


@pytest.fixture
def token(token: str) -> str:
    """Of an administrator."""
    with db.transaction():
        return tokens.create_for_email("ada@example.org", Scope.ADMIN, "admin")[1]


@pytest.fixture
def everything(client: Client) -> None:
    """A webhook and a secret."""
    client.create_webhook("https://hooks.example.org/in", events=["session.done", "session.error"])
    client.create_account_variable("NPM_TOKEN", value="not to be shown")


def test_an_id_is_shown_whole_on_a_narrow_terminal(
    run: Run, everything: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    [webhook] = client.webhooks()
    assert webhook["id"] in run("webhooks", "list", is_terminal=True).stdout


def test_a_secret_is_in_no_list(run: Run, everything: None) -> None:
    assert "not to be shown" not in run("variables", "list", is_terminal=True).stdout
    assert "not to be shown" not in run("variables", "list", "--json").stdout
