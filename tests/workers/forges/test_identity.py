"""Whom a token belongs to, as each forge says it, and which server of a forge something is on."""

from __future__ import annotations

import pytest

from tests.demo.forge import DemoForge
from tests.workers.forges.conftest import HOST
from workers.errors import EngineError
from workers.forges.identity import IDENTITIES, Identity, get_identity
from workers.forges.servers import is_same, root_of, root_of_site

EMAILS = {
    "gitlab": "@users.noreply.example.org",
    "gitea": "ada@example.com",
    "bitbucket": "ada@example.com",
    "bitbucket_data_center": "ada@example.com",
    "azure_devops": "ada@example.com",
    "github": "+ada@users.noreply.127.0.0.1",
}


def api_url_of(forge: DemoForge, kind: str) -> str:
    return f"{forge.url}/acme" if kind == "azure_devops" else forge.url


@pytest.mark.parametrize("kind", EMAILS)
def test_a_token_belongs_to_the_person_whom_the_forge_names(forge: DemoForge, kind: str) -> None:
    found = get_identity(kind, api_url_of(forge, kind), forge.tokens_of_people["ada"], HOST)
    assert found.login in ("ada", "ada@example.com")
    assert found.name.lower() == "ada" and (found.email or "").endswith(EMAILS[kind])


@pytest.mark.parametrize("kind", EMAILS)
def test_a_token_that_the_forge_refuses_is_told_without_it(forge: DemoForge, kind: str) -> None:
    with pytest.raises(EngineError) as failed:
        get_identity(kind, api_url_of(forge, kind), "a-token-of-nobody", HOST)
    assert failed.value.code == "forge_auth" and "Connect the account again" in failed.value.message
    assert "a-token-of-nobody" not in failed.value.message and "site" not in failed.value.message


def test_an_address_without_a_forge_is_told_without_a_word_of_sites(forge: DemoForge) -> None:
    with pytest.raises(EngineError) as failed:
        get_identity("github", f"{forge.url}/elsewhere", forge.token, HOST)
    assert failed.value.code == "forge_not_found" and "site" not in failed.value.message


@pytest.mark.parametrize(
    ("kind", "repo_url", "api_url", "own"),
    [
        ("github", "https://github.com/acme/shop.git", None, "https://api.github.com"),
        ("github", "ssh://git@github.com/acme/shop.git", None, "https://api.github.com"),
        ("github", "https://git.example.org/acme/shop", None, "https://git.example.org/api/v3"),
        ("gitlab", "https://gitlab.com/acme/team/shop.git", None, "https://gitlab.com/api/v4"),
        ("gitlab", "https://example.org/git/acme/shop", "https://example.org/git", "https://example.org/git/api/v4/"),
        ("gitea", "https://codeberg.org/acme/shop", None, "https://codeberg.org/api/v1"),
        ("bitbucket", "https://bitbucket.org/acme/shop", None, "https://api.bitbucket.org/2.0"),
        ("bitbucket_data_center", "https://example.org/bit/scm/ACME/shop.git", None, "https://example.org/bit/rest"),
        ("azure_devops", "https://dev.azure.com/acme/shop/_git/shop", None, "https://dev.azure.com/acme"),
    ],
)
def test_a_site_is_on_the_server_of_an_account(kind: str, repo_url: str, api_url: str | None, own: str) -> None:
    assert root_of(kind, own) == root_of_site(kind, repo_url, api_url)


@pytest.mark.parametrize(
    ("repo_url", "api_url"),
    [
        ("https://git.example.org/acme/shop", "http://git.example.org/forge"),
        ("https://git.example.org/acme/shop", "https://git.example.org:8443/forge"),
        ("https://git.example.org/acme/shop", "https://git.example.org./forge"),
        ("https://git.example.org/acme/shop", "https://git.example.org/FORGE"),
        ("https://git.example.org/acme/shop", "https://git.example.org/forge/../other"),
        ("https://git.example.org/acme/shop", "https://git.example.org/other/forge"),
        ("https://git.example.org/acme/shop", "https://git.example.org@evil.example/forge"),
        ("https://git.example.org/forge/acme/shop", None),
    ],
)
@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea", "bitbucket"])
def test_what_may_be_another_program_is_not_the_server_of_an_account(
    kind: str, repo_url: str, api_url: str | None
) -> None:
    own = root_of(kind, "https://git.example.org/forge")
    assert is_same(kind, own, root_of_site(kind, "https://x.example/acme/shop", "https://Git.example.org/forge"))
    try:
        there = root_of_site(kind, repo_url, api_url)
    except EngineError:
        return
    assert not is_same(kind, own, there)


@pytest.mark.parametrize("bad", ["a\nSigned-off-by: b", "a\x00b", "a\x1b[2Jb", "a\u202eb", "a\u2028b", "a\ud800b"])
def test_names_that_are_no_line_of_text_are_refused_and_such_addresses_left_out(
    monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    def answered(identity: Identity) -> Identity:
        monkeypatch.setitem(IDENTITIES, "gitea", lambda *given: identity)
        return get_identity("gitea", "https://git.example.org", "a-token", HOST)

    for identity in (Identity(bad, "Ada", None), Identity("ada", bad, None)):
        with pytest.raises(EngineError, match="not valid"):
            answered(identity)
    assert answered(Identity("ada", "Ada", f"{bad.replace(' ', '')}@example.org")).email is None
