"""Pull requests on the demonstration forge follow the rules of GitHub."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.demo.forge import DemoForge, Repository, git, with_feature


def create(forge: DemoForge, repository: Repository, head: str = "feature", **values: Any) -> dict[str, Any]:
    body = {"title": "T", "head": head, "base": "main", **values}
    return forge.http.post(f"/repos/{repository.full_name}/pulls", json=body).json()


def get(forge: DemoForge, repository: Repository, number: int = 1) -> dict[str, Any]:
    return forge.http.get(f"/repos/{repository.full_name}/pulls/{number}").json()


def branch(repository: Repository, name: str, **files: str) -> str:
    return repository.commit(name, files or {name: name}, name, start=repository.branches()["main"])


def test_a_push_to_the_branch_moves_the_pull_request(forge: DemoForge, repository: Repository) -> None:
    create(forge, repository, "acme:feature")
    sha = repository.commit("feature", {"more": "1\n2\n"}, "More")
    pull = get(forge, repository)
    assert pull["head"]["sha"] == sha
    assert (pull["commits"], pull["changed_files"], pull["additions"], pull["mergeable"]) == (2, 2, 3, True)


def test_deleting_the_branch_closes_it(forge: DemoForge, repository: Repository) -> None:
    create(forge, repository)
    git("update-ref", "-d", "refs/heads/feature", at=repository.folder)
    pull = get(forge, repository)
    assert (pull["state"], pull["merged"]) == ("closed", False)
    reopened = forge.http.patch(f"/repos/{repository.full_name}/pulls/1", json={"state": "open"})
    assert reopened.status_code == 422
    assert "deleted" in reopened.json()["errors"][0]["message"]


def test_commits_that_reach_the_base_by_a_push_merge_it(forge: DemoForge, repository: Repository) -> None:
    create(forge, repository)
    repository.move("refs/heads/main", repository.branches()["feature"])
    pull = get(forge, repository)
    assert (pull["state"], pull["merged"]) == ("closed", True)


def test_resetting_the_branch_to_the_base_closes_it(forge: DemoForge, repository: Repository) -> None:
    create(forge, repository)
    repository.move("refs/heads/feature", repository.branches()["main"])
    pull = get(forge, repository)
    assert (pull["state"], pull["merged"]) == ("closed", False)


def test_a_merge_keeps_both_sides(forge: DemoForge, repository: Repository) -> None:
    create(forge, repository)
    ours = repository.commit("main", {"ours": "1"}, "Ours")
    theirs = repository.branches()["feature"]
    merged = forge.merge(repository.full_name, 1)
    assert repository.branches()["main"] == merged
    assert repository.is_ancestor(ours, merged) and repository.is_ancestor(theirs, merged)
    assert repository.changes(ours, merged)[2] == 1
    assert get(forge, repository)["merge_commit_sha"] == merged
    again = forge.http.put(f"/repos/{repository.full_name}/pulls/1/merge", json={})
    assert (again.status_code, again.json()["message"]) == (405, "Pull Request is not mergeable")


def test_a_conflict_or_a_draft_is_not_merged(forge: DemoForge, repository: Repository) -> None:
    branch(repository, "conflict", **{"README.md": "# Theirs\n"})
    create(forge, repository, "conflict")
    create(forge, repository, draft=True)
    repository.commit("main", {"README.md": "# Ours\n"}, "Ours")
    main = repository.branches()["main"]
    assert get(forge, repository)["mergeable_state"] == "dirty"
    assert get(forge, repository, 2)["mergeable_state"] == "draft"
    answers = [forge.http.put(f"/repos/{repository.full_name}/pulls/{n}/merge", json={}) for n in (1, 2)]
    assert [answer.status_code for answer in answers] == [405, 405]
    assert repository.branches()["main"] == main


def test_a_merge_that_git_cannot_try_is_no_conflict_and_is_tried_again(repository: Repository) -> None:
    base, head = (repository.branches()[name] for name in ("main", "feature"))
    with pytest.raises(RuntimeError, match="merge-tree failed"):
        repository.merged_tree(base, head[::-1])
    away = repository.folder.rename(repository.folder.with_suffix(".away"))
    with pytest.raises(RuntimeError, match="merge-tree failed"):
        repository.merged_tree(base, head)
    away.rename(repository.folder)
    assert repository.merged_tree(base, head) == repository.git("rev-parse", f"{head}^{{tree}}").strip()


def test_a_branch_without_common_history_is_not_merged(forge: DemoForge, repository: Repository) -> None:
    create(forge, repository)
    tree = repository.git("rev-parse", "main^{tree}").strip()
    assert repository.move("refs/heads/feature", repository.git("commit-tree", tree, stdin="Begin again\n").strip())
    answer = forge.http.put(f"/repos/{repository.full_name}/pulls/1/merge", json={})
    assert (answer.status_code, answer.json()["message"]) == (405, "Pull Request is not mergeable")


def test_a_merge_of_another_head_is_refused(forge: DemoForge, repository: Repository) -> None:
    seen = create(forge, repository)["head"]["sha"]
    repository.commit("feature", {"more": "1"}, "More")
    answer = forge.http.put(f"/repos/{repository.full_name}/pulls/1/merge", json={"sha": seen})
    assert (answer.status_code, answer.json()["message"][:25]) == (409, "Head branch was modified.")


def test_one_of_concurrent_merges_succeeds(forge: DemoForge, repository: Repository) -> None:
    create(forge, repository)
    statuses: list[int] = []
    path = f"/repos/{repository.full_name}/pulls/1/merge"
    threads = [
        threading.Thread(target=lambda: statuses.append(forge.http.put(path, json={}).status_code)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 405, 405, 405]


def test_a_closed_one_cannot_be_reopened_beside_another(forge: DemoForge, repository: Repository) -> None:
    create(forge, repository)
    forge.close(repository.full_name, 1)
    assert create(forge, repository)["number"] == 2
    path = f"/repos/{repository.full_name}/pulls/1"
    assert forge.http.patch(path, json={"state": "open"}).status_code == 422
    forge.close(repository.full_name, 2)
    assert forge.http.patch(path, json={"state": "open"}).json()["state"] == "open"


def test_title_and_body_can_be_changed(forge: DemoForge, repository: Repository) -> None:
    create(forge, repository, body="old")
    forge.http.patch(f"/repos/{repository.full_name}/pulls/1", json={"title": "New", "body": "new"})
    pull = get(forge, repository)
    assert (pull["title"], pull["body"], pull["state"]) == ("New", "new", "open")


def test_lists_are_filtered_and_come_in_pages(forge: DemoForge, repository: Repository) -> None:
    for name in ("one", "two", "three"):
        branch(repository, name)
        create(forge, repository, name)
    forge.close(repository.full_name, 2)

    def numbers(**filters: str | int) -> list[int]:
        return [pull["number"] for pull in forge.pulls(repository.full_name, **filters)]

    assert numbers() == [3, 2, 1]
    assert numbers(state="open") == [3, 1]
    assert numbers(state="closed") == [2]
    assert numbers(head="acme:one") == [1]
    assert numbers(head="other:one") == []
    assert numbers(base="elsewhere") == []
    assert numbers(direction="asc") == [1, 2, 3]
    assert numbers(per_page=2, page=2) == [1]
    pages = forge.http.get(f"/repos/{repository.full_name}/pulls", params={"state": "all", "per_page": 2})
    assert pages.links["next"]["url"] == pages.links["last"]["url"]
    rest = forge.http.get(pages.links["next"]["url"])
    assert [pull["number"] for pull in rest.json()] == [1]
    assert "next" not in rest.links and "first" in rest.links


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"head": "nowhere"}, {"resource": "PullRequest", "field": "head", "code": "invalid"}),
        ({"head": "other:feature"}, {"resource": "PullRequest", "field": "head", "code": "invalid"}),
        ({"title": None}, {"resource": "PullRequest", "field": "title", "code": "missing_field"}),
        ({"body": "x" * 65_537}, {"resource": "Issue", "field": "body", "code": "custom"}),
    ],
)
def test_invalid_values_are_refused(
    forge: DemoForge, repository: Repository, values: dict[str, Any], error: dict[str, str]
) -> None:
    answer = create(forge, repository, **{"head": "feature", **values})
    assert answer["message"] == "Validation Failed" and answer["status"] == "422"
    assert error.items() <= answer["errors"][0].items()
    assert forge.pulls(repository.full_name) == []


def test_pull_requests_outlive_the_process(own_forge: DemoForge) -> None:
    repository = with_feature(own_forge)
    create(own_forge, repository, body="Ünï 🎉")
    before = get(own_forge, repository)
    own_forge.kill()
    own_forge.start()
    assert get(own_forge, repository) == before
    assert create(own_forge, repository)["errors"][0]["message"] == "A pull request already exists for acme:feature."


def test_faults_need_a_token_that_may_write(forge: DemoForge) -> None:
    url = f"{forge.url}/-/faults"
    for token in ("wrong", forge.read_only_token):
        answer = forge.http.put(url, json={"revoked": True}, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 404
    assert forge.http.get("/user").json()["login"] == "demo"


def test_an_unknown_fault_is_refused(forge: DemoForge) -> None:
    answer = forge.http.put(f"{forge.url}/-/faults", json={"dwon": 60})
    assert answer.status_code == 422 and "dwon" in answer.text
