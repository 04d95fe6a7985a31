"""What settings take, and what is said about what they do not take."""

from __future__ import annotations

import pytest

from app.config import Settings
from app.setting_values import SettingsError

GOOD_KEY = "b1946ac92492d2347c6235b4d2611184"


def read(**values: str) -> Settings:
    return Settings.from_environment({f"AGENT_RUNNERS_{name}": value for name, value in values.items()})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WEB_PORT", "70000", "a port from 1 to 65535, such as 8750; it is '70000'"),
        ("SESSION_WORKERS", "two", "a whole number, such as 2; it is 'two'"),
        ("LEASE_SECONDS", "nan", "a number, such as 30; it is 'nan'"),
        ("HEARTBEAT_SECONDS", "0", "a number above 0, such as 5; it is '0'"),
        ("MAX_STEPS", "-1", "0 or more, such as 10000; it is '-1'"),
        ("ALLOW_SSH", "maybe", "1 or 0; it is 'maybe'"),
        ("SANDBOX", "jail", "bubblewrap or none; it is 'jail'"),
        ("LOG_FORMAT", "xml", "auto, json or text; it is 'xml'"),
        ("LOG_LEVEL", "loud", "DEBUG, INFO, WARNING or ERROR; it is 'loud'"),
        ("PUBLIC_URL", "runners.example.com", "such as https://runners.example.com; it is 'runners.example.com'"),
    ],
)
def test_what_a_setting_takes_is_said_with_an_example(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(**{name: value})
    assert str(refused.value).startswith(f"AGENT_RUNNERS_{name} must be ") and str(refused.value).endswith(expected)


@pytest.mark.parametrize(
    ("name", "value", "example"),
    [
        ("SECRET_KEY", "hunter2", "python3 -c 'import secrets; print(secrets.token_hex(32))'"),
        ("SECRET_KEY", "hunter2" * 10, "at least 32 random characters"),
        ("DATABASE_URL", "postgres://ada:hunter2@db/runners", "postgresql://user:password@host/database"),
        ("BROKER_URL", "ada:hunter2@broker:6379", "redis://:password@host:6379/0"),
        ("FLOWER_AUTH", "hunter2", "operator:correct-horse"),
        ("SMTP_URL", "smtp://ada:hunter2/x@mail", "smtp://user:password@mail.example.org:587"),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_repeated(name: str, value: str, example: str) -> None:
    with pytest.raises(SettingsError, match=f"^AGENT_RUNNERS_{name} must be ") as refused:
        read(**{name: value})
    assert example in str(refused.value) and "hunter2" not in str(refused.value)


def test_valid_input_is_accepted() -> None:
    settings = read(
        SECRET_KEY=GOOD_KEY,
        DATABASE_URL="postgresql+psycopg://ada:x@db/runners",
        BROKER_URL="rediss://:x@broker:6379/0",
        FLOWER_AUTH="ada:a:b",
        LOG_LEVEL="debug",
        MAX_CPUS="0",
        S3_ENDPOINT_URL="",
    )
    assert settings.secret_key == GOOD_KEY and settings.max_cpus == 0.0


def test_a_mail_server_needs_a_sender() -> None:
    with pytest.raises(SettingsError, match="AGENT_RUNNERS_SMTP_FROM must be set"):
        read(SMTP_URL="smtp://localhost:25")
    for sender in ("ada", "ada@example.org\nBcc: eve@example.org", "Ada <ada>"):
        with pytest.raises(SettingsError, match="AGENT_RUNNERS_SMTP_FROM must be an e-mail address"):
            read(SMTP_URL="smtp://localhost:25", SMTP_FROM=sender)
    assert read(SMTP_URL="smtps://a%40b:c@[::1]:465", SMTP_FROM="Agent Runners <runners@example.org>").smtp_from


def test_a_committer_has_a_name_and_an_address() -> None:
    for committer in ("runners@example.org", "Runners <>", "A\n <a@b>", "A <a@b> x"):
        with pytest.raises(SettingsError, match="AGENT_RUNNERS_COMMITTER must be a name and an e-mail address"):
            read(COMMITTER=committer)
    assert read(COMMITTER="Runners <runners@example.org>").committer


def test_a_github_app_has_a_key_and_is_granted_to_accounts() -> None:
    for half in ({"GITHUB_APP_ID": "7"}, {"GITHUB_APP_KEY_FILE": "app.pem"}):
        with pytest.raises(SettingsError, match="GITHUB_APP_KEY_FILE must be set together"):
            read(**half)
    account = "0198c0de-0000-7000-8000-000000000001"
    for grant in ("acme", "=acme", "ada=acme", f"{account}=", f"{account}=a/b/c", f"*=acme,{account}=a b"):
        with pytest.raises(SettingsError, match="AGENT_RUNNERS_GITHUB_APP_GRANTS must be a list of ACCOUNT=OWNER"):
            read(GITHUB_APP_GRANTS=grant)
    grants = ("*=acme", f"{account}=widgets/shop.js")
    assert read(GITHUB_APP_GRANTS=", ".join(grants)).github_app_grants == grants


def test_the_public_url_follows_the_port_if_it_is_not_set() -> None:
    assert read(WEB_PORT="9000").public_url == "http://127.0.0.1:9000"
    assert read(WEB_PORT="9000", PUBLIC_URL="https://runners.example.com").public_url == "https://runners.example.com"
