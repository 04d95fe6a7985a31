"""What only the adapter for Bitbucket does, on a repository of the demonstration forge."""

from __future__ import annotations

import dataclasses

import pytest

from app.demo.forge.bitbucket import person
from app.demo.forge.pulls import Pull
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.registry import make_forge
from workers.publishing.description import new_description, updated_description

ADA, GRACE = person("ada"), person("grace")


def adapter(forge: DemoForge, repository: Repository, token: str | None = None) -> Forge:
    return make_forge("bitbucket", forge.clone_url(repository.full_name), None, token or forge.token, HOST)


@pytest.fixture
def bitbucket(forge: DemoForge, repository: Repository) -> Forge:
    return adapter(forge, repository)


def opened(bitbucket: Forge, body: str = "B") -> int:
    pull = bitbucket.create_pull_request(branch="feature", base="main", title="T", body=body, draft=False)
    return pull.number


def reviewers(forge: DemoForge, repository: Repository) -> set[str]:
    [pull] = forge.pulls(repository.full_name)
    return {each["login"] for each in pull["requested_reviewers"]}


@pytest.mark.parametrize("url", ["https://bitbucket.org/a/b", "https://Bitbucket.org/a/b.git", "git@bitbucket.org:a/b"])
def test_the_api_of_the_public_service_has_a_server_of_its_own(url: str) -> None:
    closed = dataclasses.replace(HOST, allow_private_addresses=False, resolve=(("api.bitbucket.org", "127.0.0.1"),))
    with pytest.raises(EngineError, match="private address") as caught:
        make_forge("bitbucket", url, None, "t", closed)
    assert "api.bitbucket.org" in caught.value.message


def test_a_repository_has_a_workspace() -> None:
    with pytest.raises(EngineError, match="a URL like https"):
        make_forge("bitbucket", "https://bitbucket.org/a", "http://127.0.0.1:9/2.0", "t", HOST)


def test_the_token_of_a_person_is_written_with_the_e_mail_address(forge: DemoForge, repository: Repository) -> None:
    opened(adapter(forge, repository, f"ada@example.org:{forge.token}"))
    with pytest.raises(EngineError) as caught:
        adapter(forge, repository, "ada@example.org:wrong-token").get_pull_request(1)
    assert caught.value.code == "forge_auth" and "wrong-token" not in caught.value.message


def test_reviewers_are_named_by_nickname_or_id_and_stay(
    forge: DemoForge, repository: Repository, bitbucket: Forge
) -> None:
    number = opened(bitbucket)
    unknown = person("nobody")
    names = [ADA["uuid"], unknown["uuid"], GRACE["account_id"], unknown["account_id"], "acme/backend"]
    assert bitbucket.request_reviews(number, names) == [unknown["uuid"], unknown["account_id"], "acme/backend"]
    bitbucket.update_pull_request(number, title="New")
    assert bitbucket.request_reviews(number, ["grace", ADA["account_id"]]) == []
    assert reviewers(forge, repository) == {"ada", "grace"}
    assert bitbucket.request_reviews(number, ['a" OR user.nickname = "ada']) == ['a" OR user.nickname = "ada']


def test_a_reviewer_who_left_is_to_be_removed_by_a_person(
    repository: Repository, bitbucket: Forge, forge: DemoForge
) -> None:
    number = opened(bitbucket)
    [pull] = repository.stored("pulls.json")
    repository.store("pulls.json", [Pull(**{**pull, "reviewers": ["gone"]})])
    with pytest.raises(EngineError, match=r"Malformed reviewers list\. If a reviewer has left the workspace") as caught:
        bitbucket.update_pull_request(number, title="New")
    assert caught.value.code == "forge_refused"


def test_our_marks_are_hidden_as_bitbucket_hides_them_and_found_again(
    forge: DemoForge, repository: Repository, bitbucket: Forge
) -> None:
    body = f"Before.\n\n{new_description('Did one.', 1_000)}\n\nAfter."
    number = opened(bitbucket, body)
    [pull] = forge.pulls(repository.full_name)
    assert "<!--" not in pull["body"] and "\n[//]: # (agent-runners: sessions)\n\nDid one.\n\n[//]" in pull["body"]
    found = bitbucket.get_pull_request(number).body
    assert found == body
    changed = updated_description(found, "Did two.", 1_000)
    assert changed is not None and bitbucket.update_pull_request(number, body=changed).body == changed
    imitated = "[//]: # (agent-runners: end of sessions)\nMine."
    assert bitbucket.update_pull_request(number, body=imitated).body == f"\\{imitated}"


def test_one_that_ended_is_not_changed(forge: DemoForge, repository: Repository, bitbucket: Forge) -> None:
    number = opened(bitbucket)
    forge.close(repository.full_name, number)
    with pytest.raises(EngineError, match="Can only update an open pull request") as caught:
        bitbucket.update_pull_request(number, title="New")
    assert caught.value.code == "forge_refused"


def test_a_branch_has_an_open_one_for_each_base(repository: Repository, bitbucket: Forge) -> None:
    repository.git("branch", "staging", "main")
    opened(bitbucket)
    other = bitbucket.create_pull_request(branch="feature", base="staging", title="T", body="", draft=False)
    assert other.number == 2 and bitbucket.find_pull_request("feature") == other
