"""A runner that is purged is gone with all that it had, and with nothing of others."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.models import Base, ForgeDelivery, ForgeWebhook, HookDelivery
from app.models.states import ForgeDeliveryState, ForgeEvent, HookDeliveryState, Scope
from app.services.artifacts import deletions, garbage, lfs_objects
from app.services.callers import Caller
from app.services.execution import session_attempts
from app.services.execution.outcomes import Work
from app.services.runners import looks
from app.services.webhooks import deliveries
from app.services.webhooks.deliveries import Answer
from tests.api.calling import created, empty, ok, patch_of, path_of, refused, session_path
from tests.stores import BusyStore, is_stored

WORD = "hunter2-pasted-by-mistake"
on_one_database = pytest.mark.same_on_both_databases
KEY = {"Idempotency-Key": "order-17"}


def purge(api, runner, **options):
    return api.post(path_of(runner, "/purge"), **options)


def traces_of(*texts):
    """The tables with a row that has one of the texts, except the audit trail."""
    found = {}
    with db.transaction(read_only=True):
        for table in Base.metadata.sorted_tables:
            rows = str(db.session.execute(sa.select(table)).mappings().all())
            if table.name != "audit_events" and any(text in rows for text in texts):
                found[table.name] = rows
    return found


def stored_objects():
    """All stored objects, as their keys and content."""
    root = artifacts.local_store().root
    files = [path for path in root.rglob("*") if path.is_file() and path.name[0] != "."]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def upload(api):
    def store():
        fields = {"filename": f"{WORD}.txt", "content_type": "text/plain", "size": len(WORD)}
        answer = ok(api.post("/agent_runners/upload_url", fields))
        assert api("PUT", answer["upload_url"], data=WORD.encode(), headers=answer["headers"]).status_code == 200
        return answer["file_key"]

    return store


@pytest.fixture
def busy_runner(ada, api, make_site, worker, upload, follow_up):
    """A runner of which everything is somewhere that can be."""
    site = make_site()
    hook = created(
        api.post(
            f"/sites/{site['id']}/agent_runner_hooks",
            {"prompt": "{{ word }}", "agent": "claude", "subject": "{{ word }}"},
        )
    )
    webhook = created(api.post("/webhooks", {"url": "https://hooks.example.org/"}))
    created(api.post(f"/sites/{site['id']}/forge_webhook", {}))
    by_hook = {"headers": {"Authorization": f"Bearer {hook['secret']}"}}
    runner_id = api.with_token(None).post(f"/hooks/{hook['id']}", {"word": WORD}, **by_hook).json["agent_runner_id"]
    runner = ok(api.get(f"/agent_runners/{runner_id}"))
    claim = worker.claim(runner["latest_session_id"])
    worker.step(claim, WORD, WORD)
    lfs = lfs_objects.put(claim.runner.id, "0" * 64, lambda: [WORD.encode()])
    worker.finish(claim, diff=patch_of(WORD), result=WORD, file_keys=(lfs,))
    follow_up(runner, patch_of(f"{WORD} again"))
    asked = {"prompt": WORD, "file_keys": [upload()]}
    session = created(api.post(path_of(runner, "/sessions"), asked, headers=KEY))
    worker.run(session["id"], patch_of(f"{WORD} once more"))
    to = {"from_session_id": str(claim.session.id), "to_session_id": session["id"]}
    ok(api.post(path_of(runner, "/comparisons"), to))
    ok(api.patch(path_of(runner), {"title": WORD}))
    with db.transaction():
        looks.look_at(Caller(ada.user.account_id, ada.user.id, uuid.uuid4(), Scope.READ), uuid.UUID(runner["id"]))
        db.session.add(
            ForgeDelivery(
                account_id=ada.user.account_id,
                agent_runner_id=uuid.UUID(runner["id"]),
                webhook_id=db.session.scalars(sa.select(ForgeWebhook.id)).one(),
                delivery_id="d1",
                event=ForgeEvent.COMMENT,
                number=7,
                session_id=claim.session.id,
                prompt=WORD,
                author=WORD,
                state=ForgeDeliveryState.WAITING,
            )
        )
        db.session.add(
            HookDelivery(
                hook_id=uuid.UUID(hook["id"]),
                state=HookDeliveryState.WAITING,
                prompt=WORD,
                agent_runner_id=uuid.UUID(runner["id"]),
            )
        )
    deliver(uuid.UUID(webhook["id"]), 2)
    return ok(api.get(path_of(runner)))


def deliver(webhook_id, count):
    """Let a receiver take so many events."""
    with db.transaction():
        attempt = deliveries.claim(webhook_id)
    for _ in range(count):
        with db.transaction():
            message = deliveries.next_message(webhook_id, attempt)
        with db.transaction():
            deliveries.record(webhook_id, attempt, message, Answer(200))


def test_nothing_of_it_is_left_but_who_purged_it_and_its_deliveries_end(ada, api, busy_runner):
    ids = [busy_runner["id"], *(each["id"] for each in ok(api.get(path_of(busy_runner, "/sessions"))))]
    hexadecimal = [uuid.UUID(each).hex for each in ids]
    assert len(ids) == 4 and len(traces_of(WORD, *ids)) >= 9 and len(stored_objects()) >= 8

    empty(purge(api, busy_runner), 204)
    assert_audited(ada, busy_runner)
    assert_deliveries_ended()
    assert traces_of(WORD, *ids, *hexadecimal).keys() == {"artifact_deletions"}
    deletions.delete_requested()
    assert traces_of(WORD, *ids, *hexadecimal) == {} and stored_objects() == {}
    refused(purge(api, busy_runner), 404, "agent_runner_not_found")
    refused(api.get(path_of(busy_runner)), 404, "agent_runner_not_found")
    assert ok(api.get("/agent_runners")) == []


def assert_audited(ada, runner):
    """The audit trail keeps who did it, and not what it was about."""
    [recorded] = ok(ada.admin.get("/audit_events"))
    assert (recorded["action"], recorded["subject"]) == ("agent_runner.purged", runner["id"])
    assert (recorded["user_id"], recorded["site_id"]) == (str(ada.user.id), runner["site_id"])
    assert WORD not in str(recorded) and recorded["created_at"]


def assert_deliveries_ended():
    """Those that waited for it."""
    with db.transaction(read_only=True):
        forge = db.session.scalars(sa.select(ForgeDelivery)).one()
        hook = db.session.scalars(sa.select(HookDelivery).where(HookDelivery.error.is_not(None))).one()
    assert (forge.state, hook.state) == (ForgeDeliveryState.IGNORED, HookDeliveryState.FAILED)
    assert forge.error == hook.error == "The agent runner was purged."


def test_a_runner_that_began_with_its_diff_keeps_that(api, make_done_runner, worker):
    parent = make_done_runner(patch_of(WORD))
    given = {"site_id": parent["site_id"], "prompt": "More.", "parent_agent_runner_id": parent["id"]}
    child = created(api.post("/agent_runners", given))
    worker.run(child["latest_session_id"])

    empty(purge(api, parent), 204)
    deletions.delete_requested()
    child = ok(api.get(path_of(child)))
    assert child["parent_agent_runner_id"] is None
    assert api.get(path_of(child, "/diff")).text == patch_of(WORD)

    empty(purge(api, child), 204)
    deletions.delete_requested()
    assert stored_objects() == {}


@on_one_database
def test_an_uploaded_file_that_another_runner_uses_stays(api, make_done_runner, upload):
    shared, own = upload(), upload()
    one = make_done_runner(file_keys=[shared, own])
    make_done_runner(site={"id": one["site_id"]}, file_keys=[shared])
    empty(purge(api, one), 204)
    deletions.delete_requested()
    assert (is_stored(shared), is_stored(own)) == (True, False)


@on_one_database
def test_a_repeat_of_the_request_that_created_it_does_not_create_another(api, make_site, worker):
    body = {"site_id": make_site()["id"], "prompt": WORD}
    runner = created(api.post("/agent_runners", body, headers=KEY))
    worker.run(runner["latest_session_id"])
    empty(purge(api, runner, headers=KEY), 204)
    assert purge(api, runner, headers=KEY).headers["Idempotent-Replayed"] == "true"
    refused(api.post("/agent_runners", body, headers=KEY), 404, "agent_runner_not_found")
    assert ok(api.get("/agent_runners")) == []


@on_one_database
def test_it_is_refused_while_a_session_is_active(api, make_runner):
    runner = make_runner()
    refused(purge(api, runner), 409, "active_session_exists")
    empty(api.delete(path_of(runner)), 202)
    empty(purge(api, runner), 204)


@on_one_database
def test_it_is_refused_while_it_is_published(api, make_site, make_done_runner):
    site = make_site()
    for verb, body, code in (
        ("/pull_request", {}, "pull_request_in_progress"),
        ("/commit", {"target_branch": "staging"}, "commit_in_progress"),
    ):
        runner = make_done_runner(site=site)
        ok(api.post(path_of(runner, verb), body))
        refused(purge(api, runner), 409, code)
        assert ok(api.get(path_of(runner)))["has_result_diff"], verb


@on_one_database
def test_only_an_administrator_may_and_also_if_it_is_archived(ada, make_done_runner):
    runner = make_done_runner()
    for scope in (Scope.READ, Scope.WRITE, Scope.WORKER):
        refused(purge(ada.holding(scope), runner), 403, "scope_missing")
        assert ok(ada.admin.get(path_of(runner)))["id"] == runner["id"], scope
    assert ada.admin.post(path_of(runner, "/archive")).status_code == 202
    empty(purge(ada.admin, runner), 204)


@on_one_database
def test_the_worker_of_a_stopped_session_finds_nothing_to_report_to(api, make_runner, worker):
    runner = make_runner()
    claim = worker.claim(runner["latest_session_id"])
    empty(api.delete(path_of(runner)), 202)
    empty(purge(api, runner), 204)
    key = worker.store(claim, "result", patch_of(WORD))
    with db.transaction():
        assert not session_attempts.keep_work(claim.session.id, claim.attempt, Work(result_diff_key=key))
        assert not session_attempts.is_cancelled(claim.session.id, claim.attempt)


@on_one_database
def test_an_external_worker_loses_its_token(ada, api, make_site, make_runner):
    runner = make_runner(site=make_site(execution="external"))
    claimed = ok(ada.holding(Scope.WORKER).patch(session_path(runner), {"state": "RUNNING"}))
    outside = api.with_token(claimed["session_token"])
    ok(outside.patch(session_path(runner), {"state": "DONE", "result": WORD}))
    empty(purge(api, runner), 204)
    refused(outside.patch(session_path(runner), {"result": WORD}), 401, "bad_token")


def test_a_webhook_goes_on_after_the_events_of_a_purged_runner(api, make_done_runner):
    webhook_id = uuid.UUID(created(api.post("/webhooks", {"url": "https://hooks.example.org/"}))["id"])
    runner = make_done_runner()
    with db.transaction():
        attempt = deliveries.claim(webhook_id)
    with db.transaction():
        message = deliveries.next_message(webhook_id, attempt)
    empty(purge(api, runner), 204)
    with db.transaction():
        assert deliveries.record(webhook_id, attempt, message, Answer(200))
    other = make_done_runner()
    with db.transaction():
        message = deliveries.next_message(webhook_id, attempt)
    assert message.body["data"]["agent_runner_id"] == other["id"]


@on_one_database
def test_an_artifact_that_cannot_be_deleted_now_is_deleted_later(api, make_done_runner, monkeypatch):
    empty(purge(api, make_done_runner()), 204)

    def fail(key):
        raise artifacts.StoreUnavailable("the disk is away")

    with monkeypatch.context() as patched:
        BusyStore(on_delete=fail).use(patched)
        assert deletions.delete_requested() == 0
    assert stored_objects() and traces_of("agent-runner")
    garbage.collect()
    assert stored_objects() == {} and traces_of("agent-runner") == {}
