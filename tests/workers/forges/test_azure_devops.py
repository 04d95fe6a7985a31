"""What is peculiar to Azure DevOps: its addresses, tokens and names. The rest is in `test_forges.py`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.demo.forge import DemoForge, Repository, git, with_feature
from tests.workers.forges.conftest import HOST
from tests.workers.forges.test_forges import opened, refused, scripted
from workers.errors import EngineError
from workers.forges.azure_rest import Place, authorization_of, place_of
from workers.forges.registry import make_forge

__all__ = ["scripted"]
SERVICE = "https://dev.azure.com"


@pytest.mark.parametrize(
    ("repo_url", "api_url", "place"),
    [
        (f"{SERVICE}/acme/My%20Project/_git/app", None, (f"{SERVICE}/acme", "My Project", "app")),
        (f"{SERVICE}/acme/_git/app", None, (f"{SERVICE}/acme", "app", "app")),
        (f"{SERVICE}/acme/p/_git/app%20one/", None, (f"{SERVICE}/acme", "p", "app one")),
        ("https://acme.visualstudio.com/p/_git/app", None, ("https://acme.visualstudio.com", "p", "app")),
        ("https://acme.visualstudio.com/_git/app", None, ("https://acme.visualstudio.com", "app", "app")),
        (
            "https://acme.visualstudio.com/DefaultCollection/p/_git/app",
            None,
            ("https://acme.visualstudio.com", "p", "app"),
        ),
        ("http://h:8080/tfs/Main/p/_git/app", None, ("http://h:8080/tfs/Main", "p", "app")),
        ("http://h:8080/tfs/Main/p/_git/app", "http://h:8080/tfs/Main/", ("http://h:8080/tfs/Main", "p", "app")),
        ("http://h:8080/tfs/Main/_git/app", "http://h:8080/tfs/Main", ("http://h:8080/tfs/Main", "app", "app")),
        (
            "https://git.example/tfs/Main/p/_git/app",
            "https://api.example/Main",
            ("https://api.example/Main", "p", "app"),
        ),
    ],
)
def test_the_organization_and_the_project_come_from_the_urls(
    repo_url: str, api_url: str | None, place: tuple[str, str, str]
) -> None:
    assert place_of(repo_url, api_url) == Place(*place)


@pytest.mark.parametrize("path", ["acme/app", "acme/p/q/_git", "_git/app", "acme/p/_git/app/x", "acme/p/_git/"])
def test_an_address_that_is_none_of_a_repository_is_refused(path: str) -> None:
    with pytest.raises(EngineError, match="_git/repository"):
        place_of(f"{SERVICE}/{path}", None)


def test_people_are_looked_up_where_the_service_has_them() -> None:
    def identities(organization: str) -> str:
        return Place(organization, "p", "app").identities

    assert identities(f"{SERVICE}/acme") == "https://vssps.dev.azure.com/acme"
    assert identities("https://acme.visualstudio.com") == "https://acme.vssps.visualstudio.com"
    assert identities("https://own.example/dev.azure.com/acme") == "https://own.example/dev.azure.com/acme"


def test_tokens_of_entra_are_told_from_personal_ones() -> None:
    assert authorization_of("eyJ0eXAi.eyJhdWQi.c2ln-_") == "Bearer eyJ0eXAi.eyJhdWQi.c2ln-_"
    for token, pair in (("pat", ":pat"), ("anybody:pat", "anybody:pat"), ("eyJ.x", ":eyJ.x")):
        assert authorization_of(token) == f"Basic {base64.b64encode(pair.encode()).decode()}"


def test_a_page_that_asks_to_sign_in_means_that_the_token_is_refused(scripted: Callable[..., str]) -> None:
    for status, location in ((203, ""), (302, "https://login.example/_signin?realm=dev.azure.com"), (401, "")):
        url = scripted({"/": (status, location, "<html>inner</html>")})
        made = make_forge("azure_devops", f"{url}/acme/_git/app", None, "s3cr3t", HOST)
        message = refused("forge_auth", lambda made=made: made.get_pull_request(1)).message
        assert '"Code: Read & write"' in message and "inner" not in message


def test_an_emoji_counts_as_two_characters(forge: DemoForge, repository: Repository) -> None:
    made = make_forge("azure_devops", forge.repo_url("azure_devops", repository.full_name), None, forge.token, HOST)
    pull = opened(made, title="x" + "🎉" * 200, body="y" * 3_000 + "🎉" * 500)
    assert pull.title == "x" + "🎉" * 199 + "…" and len(pull.body) == 3_500
    changed = made.update_pull_request(1, body="y" + "🎉" * 2_000)
    assert changed.body.startswith("y🎉") and changed.body.endswith("4,000 characters.]")


def test_names_of_people_are_matched_as_a_whole(forge: DemoForge, repository: Repository) -> None:
    made = make_forge("azure_devops", forge.repo_url("azure_devops", repository.full_name), None, forge.token, HOST)
    number = opened(made).number
    assert made.request_reviews(number, ["ad", "ADA", "ada@example.org", "grace@example.com"]) == [
        "ad",
        "grace@example.com",
    ]
    [pull] = forge.pulls(repository.full_name)
    assert [each["login"] for each in pull["requested_reviewers"]] == ["ada"]


def test_a_project_with_spaces_is_fetched_pushed_and_gets_a_pull_request(own_forge: DemoForge, tmp_path: Path) -> None:
    project = Repository("acme/My Project", "app", Path(own_forge.root) / "acme/My Project/app.git")
    project.folder.parent.mkdir(parents=True)
    with_feature(own_forge).folder.rename(project.folder)
    url = own_forge.repo_url("azure_devops", project.full_name)
    assert url.endswith("/acme/My%20Project/_git/app")
    git("clone", "--quiet", url.replace("://", f"://any:{own_forge.token}@"), tmp_path / "app")
    git("push", "--quiet", "origin", "origin/feature:refs/heads/other", at=tmp_path / "app")
    made = make_forge("azure_devops", url, None, own_forge.token, HOST)
    pull = opened(made, branch="other", body="y" * 3_000)
    assert pull.url == f"{url}/pullrequest/1" and pull.head_sha == project.branches()["feature"]
    assert made.find_pull_request("other") == pull, "lists cut descriptions"
