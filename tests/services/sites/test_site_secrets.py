"""What is known to be secret where a site's sessions are dealt with."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
import structlog

from app import keys
from app.cli.deployment.flower import credentials
from app.config import settings
from app.deployment_secrets import made_once, made_once_file
from app.logs import configure_logging
from app.models import Site
from app.redaction.secrets import prepared
from app.services.sites.site_secrets import secrets_of
from app.services.variables.values import Variables

pytestmark = pytest.mark.same_on_both_databases


def test_a_generated_secret_is_known_once_it_is_created(site: Site, configure: Callable[..., None]) -> None:
    configure(SECRET_KEY="")
    secrets_of(site, Variables())
    assert not made_once_file(settings(), "secret_key").exists(), "to ask what is known makes nothing"
    keys.sign("a text")
    key = made_once_file(settings(), "secret_key").read_text()
    pair = credentials(settings())
    token = made_once(made_once_file(settings(), "metrics_token"), "a token for prometheus")
    for secret in (key, pair, pair.removeprefix("flower:"), token):
        assert secrets_of(site, Variables()).redact(f"<{secret}>") == "<[redacted]>"
        assert secrets_of(site, Variables()).are_in([f"<{secret}>".encode()])
    encoded = base64.b64encode(pair.encode()).decode()
    assert encoded[4:-4] not in secrets_of(site, Variables()).redact(f"Basic {encoded}")


def test_what_settings_name_in_its_place_is_known(site: Site, configure: Callable[..., None]) -> None:
    made_once(made_once_file(settings(), "metrics_token"), "an unused token")
    configure(
        SECRET_KEY="key-of-the-operator-which-is-long-enough",
        FLOWER_AUTH="ada:correct-horse",
        METRICS_TOKEN="token-of-prometheus",
    )
    text = "key-of-the-operator-which-is-long-enough correct-horse token-of-prometheus, an unused token"
    assert secrets_of(site, Variables()).redact(text) == "[redacted] [redacted] [redacted], an unused token"


def test_the_credentials_of_the_artifact_store_are_known(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name-of-the-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-store")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-store")
    text = "name-of-the-key secret-of-the-store token-of-the-store"
    assert secrets_of(site, Variables()).redact(text) == "name-of-the-key [redacted] [redacted]"


def test_those_of_a_site_that_adds_none_are_made_with_the_first_line_of_the_log(site: Site) -> None:
    """A worker writes that before it forks, so no session waits for it."""
    configure_logging("test")
    structlog.get_logger().error("a line")
    made = prepared.cache_info().misses
    secrets_of(site, Variables())
    assert prepared.cache_info().misses == made
