"""Control workers that are killed at each step of publishing: there is one branch, one pull request, one commit."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunner
from tests.demo.forge import DemoForge, Repository, demo_forge, git
from tests.deployment import PATIENCE_SECONDS, Deployment, seconds_to_sleep, wait_for
from tests.faults import invariants
from tests.faults.agents import at_work
from tests.faults.conftest import ON_POSTGRES, ON_SQLITE, POSTGRES_ONLY

AT_ONCE = 4
"""Publications that one control worker has in hand."""
PUSH = {
    "before-the-push": "before GET /{}.git/info/refs?service=git-receive-pack",
    "push-not-answered": "after POST /{}.git/git-receive-pack",
}
LOOK_UP = {
    "before-the-look-up": "before GET /api/v3/repos/{}/pulls?",
    "look-up-not-answered": "after GET /api/v3/repos/{}/pulls?",
}
CREATE = {
    "looked-up": "before POST /api/v3/repos/{}/pulls",
    "created-not-answered": "after POST /api/v3/repos/{}/pulls",
}
KNOWN = "before GET /api/v3/repos/{}/pulls/1"
Changed = tuple[dict[str, Any], Repository]


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoForge]:
    with demo_forge(tmp_path_factory.mktemp("forge")) as running:
        yield running


@pytest.fixture
def publishing(deployment: Deployment, forge: DemoForge) -> Iterator[Deployment]:
    """A deployment of each kind, which has its control worker again after the test."""
    yield from _with_control(deployment, forge)


@pytest.fixture
def publishing_on_postgres(one_deployment: Deployment, forge: DemoForge) -> Iterator[Deployment]:
    yield from _with_control(one_deployment, forge)


def _with_control(deployment: Deployment, forge: DemoForge) -> Iterator[Deployment]:
    yield deployment
    forge.set_faults(holds=[])
    if "control" not in deployment.processes:
        deployment.start("control", "worker", "control")
    invariants.check_forge(forge)


def site_on(deployment: Deployment, forge: DemoForge, name: str) -> tuple[dict[str, Any], Repository]:
    name = f"{name}-{uuid.uuid4().hex[:8]}"
    repository = forge.make_repository("ada", name, {"a.txt": "a\n"})
    fields = {"forge": "github", "forge_api_url": forge.api_url, "access_token": forge.token}
    return deployment.make_site(
        repository.folder, name=name, repo_url=forge.clone_url(repository.full_name), **fields
    ), repository


def changed_runners(deployment: Deployment, forge: DemoForge, names: list[str]) -> dict[str, Changed]:
    """A runner with a diff for each name, on a repository of its own."""
    sites = {name: site_on(deployment, forge, name) for name in names}
    changed = {name: (deployment.run(site, "echo b > b.txt"), repository) for name, (site, repository) in sites.items()}
    for runner, _ in changed.values():
        assert deployment.ended(runner)["state"] == "DONE"
    return changed


def publish_and_kill(
    deployment: Deployment,
    forge: DemoForge,
    changed: dict[str, Changed],
    steps: dict[str, str],
    call: str,
    how: int = signal.SIGKILL,
    **fields: Any,
) -> None:
    """Publish every runner, kill all control workers once each is at its step, and start one anew.

    The runner without a step is published when no control worker is up: its intent is recorded, and nothing else.
    """
    workers = ["control", *(f"control-{number}" for number in range(AT_ONCE, len(steps), AT_ONCE))]
    for name in set(workers) - deployment.processes.keys():
        deployment.start(name, "worker", "control", "--name", name)
    holds = {step.format(changed[name][1].full_name) for name, step in steps.items()}
    forge.set_faults(holds=list(holds))
    for name in steps:
        deployment.call("POST", f"/agent_runners/{changed[name][0]['id']}/{call}", json=fields)
    wait_for("each publication at its step", lambda: set(forge.held()) == holds)

    for name in workers:
        deployment.stop(name, how)
    forge.set_faults(holds=[])
    for name in changed.keys() - steps.keys():
        deployment.call("POST", f"/agent_runners/{changed[name][0]['id']}/{call}", json=fields)
    deployment.start("control", "worker", "control")


def assert_published_once(deployment: Deployment, forge: DemoForge, changed: dict[str, Changed], commits: int) -> None:
    """Each runner has one pull request, whose branch is ahead by so many commits."""
    for name, (runner, repository) in changed.items():
        found = deployment.published(runner)
        assert (found["pr_error"], found["pr_number"]) == (None, 1), name
        [pull] = forge.pulls(repository.full_name)
        assert pull["head"]["ref"] == found["pr_branch"], name
        tip = assert_one_branch(repository, found["pr_branch"], commits)
        assert tip == pull["head"]["sha"] == deployment.session(runner)["commit_sha"], name


def assert_one_branch(repository: Repository, branch: str, commits: int) -> str:
    """Besides `main` there is only this branch, ahead by so many commits; its tip."""
    branches = repository.branches()
    assert branches.keys() == {"main", branch}
    assert int(git("rev-list", "--count", f"main..{branch}", at=repository.folder).stdout) == commits
    return branches[branch]


@ON_POSTGRES
def test_a_crash_at_any_step_leads_to_one_pull_request_and_to_its_update(
    publishing: Deployment, forge: DemoForge
) -> None:
    steps = {**PUSH, **LOOK_UP, **CREATE}
    changed = changed_runners(publishing, forge, [*steps, "intended"])
    publish_and_kill(publishing, forge, changed, steps, "pull_request")
    assert_published_once(publishing, forge, changed, commits=1)

    update = dict(zip(changed, [*PUSH.values(), *LOOK_UP.values(), KNOWN], strict=False))
    for runner, _ in changed.values():
        publishing.follow_up(runner, "echo more >> b.txt")
    for runner, _ in changed.values():
        assert publishing.ended(runner)["state"] == "DONE"
    publish_and_kill(publishing, forge, changed, update, "pull_request")
    assert_published_once(publishing, forge, changed, commits=2)


@POSTGRES_ONLY
def test_a_worker_that_is_stopped_waits_for_no_call_and_what_it_interrupts_is_published_once(
    publishing_on_postgres: Deployment, forge: DemoForge
) -> None:
    steps = {"push-not-answered": PUSH["push-not-answered"], "created-not-answered": CREATE["created-not-answered"]}
    changed = changed_runners(publishing_on_postgres, forge, [*steps])
    before = len(publishing_on_postgres.log("control"))
    publish_and_kill(publishing_on_postgres, forge, changed, steps, "pull_request", signal.SIGTERM)
    assert_published_once(publishing_on_postgres, forge, changed, commits=1)
    said = publishing_on_postgres.log("control")[before:]
    assert "publishing_failed" not in said, "a call was waited for to its limit"
    assert "Traceback" not in said, "a stop was taken for an error"


@ON_SQLITE
@pytest.mark.parametrize("squash", [False, True], ids=["as-they-are", "squashed"])
def test_a_crash_at_any_step_leads_to_one_commit(publishing: Deployment, forge: DemoForge, squash: bool) -> None:
    changed = changed_runners(publishing, forge, [*PUSH, "intended"])
    for _, repository in changed.values():
        repository.commit("topic", {"c.txt": "c\n"}, "Somebody else's work", repository.branches()["main"])

    publish_and_kill(publishing, forge, changed, PUSH, "commit", target_branch="topic", squash=squash)

    for name, (runner, repository) in changed.items():
        found = publishing.published(runner)
        assert found["merge_commit_error"] is None, name
        # Somebody else's commit and ours; the one that merges the two, where ours is not squashed.
        tip = assert_one_branch(repository, "topic", commits=2 if squash else 3)
        assert found["merge_commit_sha"] == tip, name


@POSTGRES_ONLY
def test_a_crash_before_the_answer_is_recorded_leads_to_one_pull_request(
    publishing_on_postgres: Deployment, forge: DemoForge
) -> None:
    deployment = publishing_on_postgres
    changed = changed_runners(deployment, forge, ["not-recorded"])
    [(runner, _)] = changed.values()
    engine = db.make_engine(deployment.database_url)
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    created = CREATE["created-not-answered"].format(changed["not-recorded"][1].full_name)
    forge.set_faults(holds=[created])
    deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
    wait_for("the pull request", lambda: forge.held() == [created])

    # Who writes down that it is published locks the runner; nothing else does meanwhile.
    with engine.begin() as locking, engine.connect() as watching:
        locking.execute(sa.select(AgentRunner.id).where(AgentRunner.id == runner["id"]).with_for_update())
        forge.set_faults(holds=[])
        wait_for("the record", lambda: watching.execute(waiting).scalar())
        deployment.stop("control", signal.SIGKILL)
    engine.dispose()
    assert deployment.call("GET", f"/agent_runners/{runner['id']}")["pr_is_being_created"] is True
    deployment.start("control", "worker", "control")

    assert_published_once(deployment, forge, changed, commits=1)


@POSTGRES_ONLY
def test_a_control_worker_that_is_asked_to_stop_finishes_its_tasks_first(
    publishing_on_postgres: Deployment, forge: DemoForge
) -> None:
    deployment = publishing_on_postgres
    changed = changed_runners(deployment, forge, ["in-hand"])
    [(runner, repository)] = changed.values()
    held = CREATE["created-not-answered"].format(repository.full_name)
    forge.set_faults(holds=[held])
    deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
    wait_for("the pull request", lambda: forge.held() == [held])

    control = deployment.processes.pop("control")
    control.send_signal(signal.SIGTERM)
    forge.set_faults(holds=[])
    control.wait(PATIENCE_SECONDS)

    assert deployment.call("GET", f"/agent_runners/{runner['id']}")["pr_is_being_created"] is False
    assert_published_once(deployment, forge, changed, commits=1)


@ON_SQLITE
def test_attempts_that_make_different_commits_know_each_other_s_and_lead_to_one_pull_request(
    publishing: Deployment, forge: DemoForge
) -> None:
    changed = changed_runners(publishing, forge, ["retitled"])
    [(runner, repository)] = changed.values()
    path = f"/agent_runners/{runner['id']}"
    # The first attempt has pushed when it dies, the second has not; a new title makes a new commit of the same work.
    for step, title in ((CREATE["looked-up"], "First"), (PUSH["before-the-push"], "Second")):
        held = step.format(repository.full_name)
        forge.set_faults(holds=[held])
        publishing.call("PATCH", f"{path}/sessions/{runner['latest_session_id']}", json={"title": title})
        if title == "First":
            publishing.call("POST", f"{path}/pull_request", json={})
        else:
            publishing.start("control", "worker", "control")
        wait_for(step, lambda held=held: forge.held() == [held])
        publishing.stop("control", signal.SIGKILL)
    forge.set_faults(holds=[])
    publishing.start("control", "worker", "control")

    assert_published_once(publishing, forge, changed, commits=1)


@ON_SQLITE
def test_a_forge_that_does_not_answer_delays_no_other_site(publishing: Deployment, forge: DemoForge) -> None:
    dead, repository = site_on(publishing, forge, "dead")
    waiting = [publishing.run(dead, "echo b > b.txt") for _ in range(AT_ONCE + 1)]
    alive = changed_runners(publishing, forge, ["alive"])
    for runner in waiting:
        assert publishing.ended(runner)["state"] == "DONE"
    silent = PUSH["before-the-push"].format(repository.full_name)
    forge.set_faults(holds=[silent])
    for number, runner in enumerate(waiting):
        path = f"/agent_runners/{runner['id']}/commit"
        publishing.call("POST", path, json={"target_branch": f"topic-{number}"})
    wait_for("the silence", lambda: forge.held() == [silent])
    [(runner, _)] = alive.values()
    publishing.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})

    assert_published_once(publishing, forge, alive, commits=1)

    assert forge.held() == [silent]
    forge.set_faults(holds=[])
    for runner in waiting:
        assert publishing.published(runner)["merge_commit_error"] is None
    assert repository.branches().keys() == {"main", *(f"topic-{number}" for number in range(len(waiting)))}


@ON_POSTGRES
def test_there_is_no_pull_request_of_a_cancelled_session(publishing: Deployment, forge: DemoForge) -> None:
    site, repository = site_on(publishing, forge, "cancelled")
    marker = seconds_to_sleep()
    runner = publishing.run(site, f"sleep {marker}")
    at_work(publishing, marker)
    assert publishing.api.delete(f"/agent_runners/{runner['id']}").status_code == 202
    assert publishing.ended(runner)["state"] == "CANCELLED"

    refused = publishing.api.post(f"/agent_runners/{runner['id']}/pull_request", json={})

    assert (refused.status_code, refused.json()["error_code"]) == (422, "no_diff")
    assert forge.pulls(repository.full_name) == []
