"""The whole reference as a caller uses it, from a prompt to a merged branch, against a forge with GitHub's rules."""

from __future__ import annotations

import signal
from typing import Any

from tests.e2e.deployment import Deployment, wait_for
from tests.forges.forge import DemoForge, git
from workers.forges.demo.repositories import Repository


def site_on(deployment: Deployment, forge: DemoForge, name: str) -> tuple[dict[str, Any], Repository]:
    """A site for a fresh repository of the forge."""
    # Both deployments use the one forge.
    name = f"{name}-{deployment.url.rpartition(':')[2]}"
    repository = forge.make_repository("ada", name, {"readme.md": "# Sample\n", "greeting.txt": "hello\n"})
    fields = {
        "name": name,
        "repo_url": forge.clone_url(repository.full_name),
        "default_branch": "main",
        "forge": "github",
        "forge_api_url": forge.api_url,
        "access_token": forge.token,
    }
    return deployment.call("POST", "/sites", json=fields), repository


def test_a_caller_goes_through_the_whole_reference(deployment: Deployment, forge: DemoForge) -> None:
    site, repository = site_on(deployment, forge, "tour")
    assert site["has_access_token"] is True and "access_token" not in site

    # Create, and watch.
    runner = deployment.run(site, "echo bonjour > greeting.txt; echo new > b.txt; printf '\\000\\001' > c.bin")
    first = deployment.ended(runner)
    assert first["state"] == "DONE", first["failure"]
    path = f"/agent_runners/{runner['id']}"

    # The diff, by pages of files, and without what nobody can read.
    page = deployment.api.get(f"{path}/diff", params={"page": 2, "per_page": 1, "strip_binary": "true"})
    assert page.headers["Total"] == "3" and 'rel="next"' in page.headers["Link"]
    assert page.text.startswith("diff --git a/c.bin") and "GIT binary patch" not in page.text

    # Follow up, revert, undo.
    deployment.follow_up(runner, "echo gone > greeting.txt")
    second = deployment.ended(runner)
    reverted = deployment.call("POST", f"{path}/revert", json={"session_id": first["id"]})
    assert reverted["head_session_id"] == first["id"]
    assert "+gone" not in deployment.call("GET", f"{path}/diff")
    listed = deployment.call("GET", f"{path}/sessions")
    assert [session["id"] for session in listed] == [first["id"]]
    deployment.call("POST", f"{path}/revert", json={"session_id": second["id"]})
    assert "+gone" in deployment.call("GET", f"{path}/diff")

    # A pull request, and after a follow-up the same one.
    deployment.call("POST", f"{path}/pull_request", json={"title": "Greet in French", "body": "See <b>here</b>"})
    opened = deployment.published(runner)
    assert opened["pr_error"] is None
    assert (opened["pr_state"], opened["pr_number"]) == ("open", 1)
    assert opened["pr_branch"].startswith("agent/") and opened["pr_url"].startswith(forge.url)
    [pull] = forge.pulls(repository.full_name)
    assert (pull["title"], pull["head"]["ref"], pull["base"]["ref"]) == ("Greet in French", opened["pr_branch"], "main")
    deployment.follow_up(runner, "echo bonsoir >> greeting.txt")
    third = deployment.ended(runner)
    deployment.call("POST", f"{path}/pull_request", json={})
    again = deployment.published(runner)
    assert (again["pr_error"], again["pr_number"], again["pr_branch"]) == (None, 1, opened["pr_branch"])
    [updated] = forge.pulls(repository.full_name)
    assert updated["head"]["sha"] == deployment.session(runner, third["id"])["commit_sha"] != pull["head"]["sha"]

    # A commit to another branch; the default one is protected.
    refused = deployment.api.post(f"{path}/commit", json={"target_branch": "main"})
    assert (refused.status_code, refused.json()["error_code"]) == (400, "protected_branch")
    deployment.call("POST", f"{path}/commit", json={"target_branch": "preview", "message": "Preview", "squash": True})
    committed = deployment.published(runner)
    assert committed["merge_commit_error"] is None and committed["merge_commit_sha"]

    # Put away.
    archived = deployment.api.post(f"{path}/archive")
    assert (archived.status_code, archived.json()["state"]) == (202, "ARCHIVED")
    assert runner["id"] not in [each["id"] for each in deployment.call("GET", "/agent_runners")]
    late = deployment.api.post(f"{path}/sessions", json={"prompt": "true"})
    assert (late.status_code, late.json()["error_code"]) == (409, "runner_archived")


def changed_runner(deployment: Deployment, forge: DemoForge, name: str) -> tuple[dict[str, Any], Repository]:
    """A runner with a diff, and the repository of its site."""
    site, repository = site_on(deployment, forge, name)
    runner = deployment.run(site, "echo bonjour > greeting.txt")
    assert deployment.ended(runner)["state"] == "DONE"
    return runner, repository


def test_a_commit_onto_a_moved_branch_is_merged_and_a_conflict_names_the_files(
    deployment: Deployment, forge: DemoForge
) -> None:
    runner, repository = changed_runner(deployment, forge, "moved")
    base = repository.branches()["main"]
    repository.commit("topic", {"readme.md": "# Other\n"}, "Somebody else's work", base)
    deployment.call("POST", f"/agent_runners/{runner['id']}/commit", json={"target_branch": "topic"})
    merged = deployment.published(runner)
    assert merged["merge_commit_error"] is None

    repository.commit("clash", {"greeting.txt": "guten tag\n"}, "Somebody else's greeting", base)
    deployment.call("POST", f"/agent_runners/{runner['id']}/commit", json={"target_branch": "clash"})
    refused = deployment.published(runner)
    assert "greeting.txt" in refused["merge_commit_error"]


def test_a_forge_that_is_down_for_a_while_gets_one_pull_request(deployment: Deployment, forge: DemoForge) -> None:
    runner, repository = changed_runner(deployment, forge, "down")
    forge.down(6)
    deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
    assert deployment.published(runner)["pr_error"] is None
    assert len(forge.pulls(repository.full_name)) == 1


def test_a_revoked_token_is_told_and_nothing_is_pushed(deployment: Deployment, forge: DemoForge) -> None:
    runner, repository = changed_runner(deployment, forge, "revoked")
    forge.revoke()
    try:
        deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
        error = deployment.published(runner)["pr_error"]
    finally:
        forge.restore()
    assert "token" in error and forge.token not in error
    assert forge.pulls(repository.full_name) == []
    deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
    assert deployment.published(runner)["pr_number"] == 1


def test_a_pull_request_that_somebody_ended_is_never_made_twice(deployment: Deployment, forge: DemoForge) -> None:
    runner, repository = changed_runner(deployment, forge, "ended")
    path = f"/agent_runners/{runner['id']}"
    deployment.call("POST", f"{path}/pull_request", json={})
    deployment.published(runner)
    forge.close(repository.full_name, 1)
    deployment.follow_up(runner, "echo more >> greeting.txt")
    deployment.ended(runner)
    deployment.call("POST", f"{path}/pull_request", json={})
    found = deployment.published(runner)
    assert found["pr_state"] == "closed" and "closed" in found["pr_error"]
    assert len(forge.pulls(repository.full_name)) == 1


def test_two_publish_calls_at_once_make_one_pull_request(deployment: Deployment, forge: DemoForge) -> None:
    runner, repository = changed_runner(deployment, forge, "twice")
    path = f"/agent_runners/{runner['id']}/pull_request"
    answers = [deployment.api.post(path, json={}) for _ in range(2)]
    assert sorted(answer.status_code for answer in answers) in ([200, 200], [200, 409])
    deployment.published(runner)
    assert len(forge.pulls(repository.full_name)) == 1


def test_a_branch_that_somebody_deleted_is_pushed_again(deployment: Deployment, forge: DemoForge) -> None:
    runner, repository = changed_runner(deployment, forge, "deleted")
    path = f"/agent_runners/{runner['id']}/commit"
    for _ in range(2):
        deployment.call("POST", path, json={"target_branch": "topic"})
        found = deployment.published(runner)
        assert found["merge_commit_error"] is None
        git("update-ref", "-d", "refs/heads/topic", at=repository.folder)


def test_a_publication_whose_worker_was_killed_is_taken_up_again(deployment: Deployment, forge: DemoForge) -> None:
    runner, repository = changed_runner(deployment, forge, "killed")
    deployment.stop("control", signal.SIGKILL)
    deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
    deployment.start("control", "worker", "control")
    assert deployment.published(runner)["pr_error"] is None
    wait_for("one pull request", lambda: len(forge.pulls(repository.full_name)) == 1)
