"""The whole reference as a caller uses it, from a prompt to a merged branch, against a forge with GitHub's rules."""

from __future__ import annotations

import signal
from typing import Any

import httpx

from tests import patiently
from tests.demo.forge import DemoForge, Repository, git
from tests.deployment import Deployment, wait_for


def site_on(deployment: Deployment, forge: DemoForge, name: str) -> tuple[dict[str, Any], Repository]:
    """A site for a fresh repository of the forge."""
    # Both deployments use the one forge.
    name = f"{name}-{deployment.url.rpartition(':')[2]}"
    repository = forge.make_repository("ada", name, {"readme.md": "# Sample\n", "greeting.txt": "hello\n"})
    fields = {
        "name": name,
        "repo_url": forge.clone_url(repository.full_name),
        "default_branch": "main",
        "default_agent": "shell",
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


def test_a_revoked_token_is_reported_and_nothing_is_pushed(deployment: Deployment, forge: DemoForge) -> None:
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


def test_the_forges_reason_for_a_refusal_is_shown(deployment: Deployment, forge: DemoForge) -> None:
    runner, _ = changed_runner(deployment, forge, "refused")
    path = f"/agent_runners/{runner['id']}"
    forge.set_faults(protected=["topic"])
    deployment.call("POST", f"{path}/commit", json={"target_branch": "topic"})
    rejected = deployment.published(runner)
    forge.set_faults(protected=[])
    assert "rejected" in rejected["merge_commit_error"]

    orphan = deployment.call("POST", "/agent_runners", json={"site_id": runner["site_id"], "prompt": "echo x > x"})
    deployment.ended(orphan)
    reading = {"access_token": forge.read_only_token}
    deployment.call("PATCH", f"/sites/{runner['site_id']}", json=reading)
    deployment.call("POST", f"/agent_runners/{orphan['id']}/pull_request", json={})
    assert "token" in deployment.published(orphan)["pr_error"]


def test_an_answer_that_got_lost_leads_to_no_second_pull_request(deployment: Deployment, forge: DemoForge) -> None:
    runner, repository = changed_runner(deployment, forge, "unheard")
    forge.set_faults(lost_answers=1)
    deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
    published = deployment.published(runner)
    assert (published["pr_error"], published["pr_number"]) == (None, 1)
    assert len(forge.pulls(repository.full_name)) == 1


def test_somebody_else_s_commits_on_the_branch_are_never_replaced(deployment: Deployment, forge: DemoForge) -> None:
    runner, repository = changed_runner(deployment, forge, "theirs")
    path = f"/agent_runners/{runner['id']}"
    deployment.call("POST", f"{path}/pull_request", json={})
    branch = deployment.published(runner)["pr_branch"]
    theirs = repository.commit(branch, {"review.txt": "mended\n"}, "A reviewer's commit")
    deployment.follow_up(runner, "echo more >> greeting.txt")
    deployment.ended(runner)
    deployment.call("POST", f"{path}/pull_request", json={})
    assert "did not make" in deployment.published(runner)["pr_error"]
    assert repository.branches()[branch] == theirs


def test_a_caller_s_own_diff_takes_the_place_of_the_agent_s(deployment: Deployment, forge: DemoForge) -> None:
    runner, repository = changed_runner(deployment, forge, "edited")
    path = f"/agent_runners/{runner['id']}"
    edited = deployment.call("GET", f"{path}/diff").replace("+bonjour", "+salut")
    assert deployment.call("PATCH", path, json={"result_diff": edited})["has_result_diff"] is True
    deployment.follow_up(runner, "grep -q salut greeting.txt; echo 2 > two.txt")
    assert deployment.ended(runner)["state"] == "DONE"
    deployment.call("POST", f"{path}/commit", json={"target_branch": "topic"})
    assert deployment.published(runner)["merge_commit_error"] is None
    shown = git("show", "topic:greeting.txt", at=repository.folder).stdout
    assert shown == "salut\n"

    broken = edited.replace("-hello", "-something that never stood there")
    deployment.call("PATCH", path, json={"result_diff": broken})
    deployment.call("POST", f"{path}/commit", json={"target_branch": "other"})
    assert "does not apply" in deployment.published(runner)["merge_commit_error"]


def test_a_runner_starts_from_another_one_s_diff(deployment: Deployment, forge: DemoForge) -> None:
    parent, _ = changed_runner(deployment, forge, "parent")
    fields = {"site_id": parent["site_id"], "prompt": "grep -q bonjour greeting.txt; echo child > child.txt"}
    child = deployment.call("POST", "/agent_runners", json={**fields, "parent_agent_runner_id": parent["id"]})
    session = deployment.ended(child)
    assert session["state"] == "DONE", session["failure"]
    assert "bonjour" not in deployment.diff(child, session, "result")
    assert "+bonjour" in deployment.diff(child, session, "cumulative")


def test_a_question_is_answered_and_changes_nothing(deployment: Deployment, forge: DemoForge) -> None:
    runner, _ = changed_runner(deployment, forge, "asked")
    before = deployment.call("GET", f"/agent_runners/{runner['id']}")
    deployment.follow_up(runner, "cat greeting.txt; echo edited > greeting.txt", mode="ask")
    session = deployment.ended(runner)
    assert (session["state"], session["has_result_diff"], session["is_discarded"]) == ("DONE", False, False)
    assert "bonjour" in session["result"]
    assert any("discarded" in step["title"] for step in session["steps"])
    after = deployment.call("GET", f"/agent_runners/{runner['id']}")
    assert after["head_session_id"] == before["head_session_id"]


def test_a_worker_outside_does_a_session_through_the_api_alone(deployment: Deployment, forge: DemoForge) -> None:
    site, repository = site_on(deployment, forge, "outside")
    deployment.call("PATCH", f"/sites/{site['id']}", json={"execution": "external"})
    upload = deployment.call(
        "POST", "/agent_runners/upload_url", json={"filename": "plan.txt", "content_type": "text/plain", "size": 6}
    )
    patiently.put(upload["upload_url"], content=b"a plan", headers=upload["headers"]).raise_for_status()
    key = upload["file_key"]
    runner = deployment.run(site, "whatever the worker outside makes of it", file_keys=[key])
    path = f"/agent_runners/{runner['id']}/sessions/{runner['latest_session_id']}"
    assert deployment.call("GET", path)["state"] == "NEW"
    token = deployment.call("POST", "/tokens", json={"name": "outside", "scope": "worker"})["token"]

    def report(token: str, **fields: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return patiently.patch(f"{deployment.url}/api/v1{path}", json=fields, headers=headers)

    claimed = report(token, state="running").json()
    assert (claimed["state"], claimed["attempt"]) == ("RUNNING", 1)
    mine = claimed["session_token"]
    assert patiently.get(claimed["attachment_urls"][key]).content == b"a plan"
    assert claimed["start_diff_url"] is None
    assert report(mine, steps=[{"title": "Thinking"}]).json()["steps_count"] == 1
    urls = deployment.api.post(f"{path}/diff/upload_urls", headers={"Authorization": f"Bearer {mine}"}).json()
    patch = (
        b"diff --git a/new.txt b/new.txt\nnew file mode 100644\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+outside\n"
    )
    for target in urls.values():
        assert patiently.put(target["upload_url"], content=patch, headers=target["headers"]).is_success
    keys = {f"{kind}_diff_s3_key": target["s3_key"] for kind, target in urls.items()}
    done = report(mine, state="DONE", result="Made it", **keys)
    assert done.status_code == 200, done.text
    assert "+outside" in deployment.call("GET", f"/agent_runners/{runner['id']}/diff")
    assert report(mine, steps=[{"title": "Late"}]).status_code == 409
    second = deployment.follow_up(runner, "and on")
    path = f"/agent_runners/{runner['id']}/sessions/{second['id']}"
    assert patiently.get(report(token, state="RUNNING").json()["start_diff_url"]).content == patch
    deployment.api.delete(path)
    deployment.call("POST", f"/agent_runners/{runner['id']}/commit", json={"target_branch": "topic"})
    assert deployment.published(runner)["merge_commit_error"] is None
    assert git("show", "topic:new.txt", at=repository.folder).stdout == "outside\n"
