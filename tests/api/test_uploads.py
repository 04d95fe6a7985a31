"""Uploaded files and the signed URLs that put and delete them."""

from __future__ import annotations

import datetime
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest

from app import artifacts
from app.models.states import Scope
from tasks.publications import collect_garbage
from tests.api.calling import NOBODY, created, empty, ok, patch_of, path_of, refused, session_path
from tests.stores import BusyStore, is_stored, make_older

pytestmark = pytest.mark.same_on_both_databases

HOURS = 3600.0
FILE = {"filename": "sketch.png", "content_type": "image/png", "size": 5}
MIB = 1024 * 1024


def ask(api, **fields):
    return ok(api.post("/agent_runners/upload_url", {**FILE, **fields}))


def put(api, upload, content=b"12345", **headers):
    return api.with_token(None)("PUT", upload["upload_url"], data=content, headers={**upload["headers"], **headers})


@pytest.fixture
def uploaded(api):
    """The key of a file that was uploaded."""
    upload = ask(api)
    empty(put(api, upload), 200)
    return upload["file_key"]


def test_an_upload_url_says_all_that_a_put_needs(api, ada):
    upload = ask(api, filename="a sketch, ünïcode & more?.png")
    account = str(ada.user.account_id)
    key = rf"user-uploaded-content/{account}/[0-9a-f-]{{36}}/a sketch, ünïcode & more\?\.png"
    assert re.fullmatch(key, upload["file_key"])
    assert upload["headers"] == {"Content-Type": "image/png", "Content-Length": "5"}
    expires = datetime.datetime.fromisoformat(upload["expires_at"])
    assert 0 < (expires - datetime.datetime.now(datetime.UTC)).total_seconds() <= 15 * 60
    empty(put(api, upload), 200)


def test_without_a_size_the_limit_is_checked_where_the_file_arrives(api):
    upload = ask(api, size=None)
    assert "Content-Length" not in upload["headers"]
    refused(put(api, upload, b"x" * (10 * MIB + 1)), 413, "too_large")
    empty(put(api, upload, b"x" * (10 * MIB)), 200)


@pytest.mark.parametrize("size", [0, None])
def test_an_empty_file_is_a_file_with_and_without_its_size(api, make_runner, size):
    upload = ask(api, size=size)
    empty(put(api, upload, b""), 200)
    assert make_runner(file_keys=[upload["file_key"]])["attached_file_keys"] == [upload["file_key"]]


def test_a_name_has_one_spelling_and_keeps_its_marks(api):
    assert ask(api, filename="Abscha\u0308tzung.pdf")["file_key"].endswith("/Absch\u00e4tzung.pdf")
    assert ask(api, filename="हिन्दी.txt")["file_key"].endswith("/हिन्दी.txt")


BAD_FILES = [
    ({"filename": "../x"}, "bad_filename"),
    ({"filename": "a/b"}, "bad_filename"),
    ({"filename": ".."}, "bad_filename"),
    ({"filename": "x" * 256}, "bad_filename"),
    ({"filename": "é" * 200}, "bad_filename"),
    ({"filename": "a\nb"}, "bad_filename"),
    ({"content_type": "png"}, "bad_content_type"),
    ({"content_type": "image/png\r\nX: y"}, "bad_content_type"),
    ({"size": -1}, "bad_size"),
    ({"size": 10 * MIB + 1}, "bad_size"),
    ({"size": "5"}, "invalid"),
    ({"filename": ""}, "invalid"),
    ({"filename": None}, "invalid"),
]


def test_a_bad_name_type_or_size_is_refused(api):
    for fields, error_code in BAD_FILES:
        refused(api.post("/agent_runners/upload_url", {**FILE, **fields}), 422, error_code)


def test_only_the_callers_own_account_is_accepted(api, ada):
    ask(api, account_id=str(ada.user.account_id))
    for other in (NOBODY, "mine"):
        assert api.post("/agent_runners/upload_url", {**FILE, "account_id": other}).status_code == 404


@pytest.mark.parametrize("name", ["type", "limit", "length", "expires", "signature"])
def test_a_signed_url_cannot_be_altered(api, name):
    upload = ask(api)
    parts = urlsplit(upload["upload_url"])
    terms = {key: values[0] for key, values in parse_qs(parts.query).items()}
    for altered in ({**terms, name: terms[name] + "0"}, {key: terms[key] for key in terms if key != name}):
        url = urlunsplit(parts._replace(query=urlencode(altered)))
        refused(put(api, {**upload, "upload_url": url}), 403, "bad_signature")
    added = upload["upload_url"] + "&limit=99999999&extra=1"
    refused(put(api, {**upload, "upload_url": added}), 403, "bad_signature")


def test_a_signed_url_is_for_one_method_one_key_one_type_and_one_length(api, uploaded):
    upload = ask(api)
    refused(api.with_token(None).delete(upload["upload_url"]), 403, "bad_signature")
    elsewhere = upload["upload_url"].replace("sketch.png", "other.png")
    refused(put(api, {**upload, "upload_url": elsewhere}), 403, "bad_signature")
    refused(put(api, upload, **{"Content-Type": "text/html"}), 400, "wrong_content_type")
    refused(put(api, upload, b"1234", **{"Content-Length": "4"}), 400, "wrong_length")
    url = ok(api.post("/agent_runners/delete_url", {"file_key": uploaded}))["delete_url"]
    refused(api.with_token(None)("PUT", url, data=b"12345", content_type="image/png"), 403, "bad_signature")


def test_a_signed_url_expires(api):
    signed = artifacts.store().signed_put("user-uploaded-content/x", "image/png", length=5, limit=5, seconds=-1)
    refused(put(api, {"upload_url": signed.url, "headers": signed.headers}), 403, "url_expired")


def test_half_a_file_is_never_stored(api):
    upload = ask(api)
    response = put(api, upload, b"12", **{"Content-Length": "5"})
    assert response.status_code == 400
    refused(api.post("/agent_runners/delete_url", {"file_key": upload["file_key"]}), 404, "file_not_found")


def test_a_file_is_deleted_by_a_signed_url(api, uploaded):
    answer = ok(api.post("/agent_runners/delete_url", {"file_key": uploaded}))
    assert answer["file_key"] == uploaded
    empty(api.with_token(None).delete(answer["delete_url"]), 204)
    refused(api.post("/agent_runners/delete_url", {"file_key": uploaded}), 404, "file_not_found")


def test_a_file_in_use_is_not_deleted(api, uploaded, make_runner):
    url = ok(api.post("/agent_runners/delete_url", {"file_key": uploaded}))["delete_url"]
    runner = make_runner(file_keys=[uploaded, uploaded])
    assert runner["attached_file_keys"] == ok(api.get(session_path(runner)))["attached_file_keys"] == [uploaded]
    refused(api.post("/agent_runners/delete_url", {"file_key": uploaded}), 409, "file_in_use")
    refused(api.with_token(None).delete(url), 409, "file_in_use")


def test_a_session_uses_only_files_of_its_own_account_that_are_there(api, uploaded, make_done_runner, join):
    runner = make_done_runner()
    eve = join("Eve").admin
    foreign = ask(eve)
    put(eve, foreign)
    for key in (ask(api)["file_key"], foreign["file_key"], "../secret.key", uploaded + "/..", "secret.key"):
        refused(api.post(path_of(runner, "/sessions"), {"prompt": "x", "file_keys": [key]}), 422, "file_not_found")
    refused(eve.post("/agent_runners/delete_url", {"file_key": uploaded}), 404, "file_not_found")
    created(api.post(path_of(runner, "/sessions"), {"prompt": "x", "file_keys": [uploaded]}))


@pytest.mark.parametrize("moment", ["on_list", "on_delete"])
def test_no_session_is_promised_a_file_that_is_just_being_collected(
    api, make_done_runner, uploaded, monkeypatch, moment
):
    path, body, answers = path_of(make_done_runner(), "/sessions"), {"prompt": "Look.", "file_keys": [uploaded]}, []

    def use(key):
        with ThreadPoolExecutor() as beside:
            answers.append(beside.submit(api.post, path, body).result())

    make_older(uploaded, 48 * HOURS)
    BusyStore(**{moment: use}).use(monkeypatch)
    collect_garbage()
    refused(answers[0], 422, "file_expired")
    assert not is_stored(uploaded)


@pytest.mark.parametrize(("hours", "answer"), [(21, 201), (22, 422)])
def test_a_file_is_usable_for_so_long_that_no_session_is_left_without_it(
    api, make_done_runner, uploaded, hours, answer
):
    body = {"prompt": "Look at it.", "file_keys": [make_older(uploaded, hours * HOURS)]}
    assert api.post(path_of(make_done_runner(), "/sessions"), body).status_code == answer
    make_older(uploaded, 48 * HOURS)
    collect_garbage()
    assert is_stored(uploaded) == (answer == 201)


def test_a_file_that_a_session_uses_may_be_used_again_however_old_it_is(api, make_done_runner, uploaded):
    runner = make_done_runner(file_keys=[uploaded])
    body = {"prompt": "Look again.", "file_keys": [make_older(uploaded, 48 * HOURS)]}
    created(api.post(path_of(runner, "/sessions"), body))


def test_a_reader_uploads_nothing(ada):
    reader = ada.holding(Scope.READ)
    refused(reader.post("/agent_runners/upload_url", FILE), 403, "scope_missing")
    refused(reader.post("/agent_runners/delete_url", {"file_key": "x"}), 403, "scope_missing")


@pytest.mark.parametrize("key", ["x", "../secret.key", "%2e%2e/secret.key", "a//b", "%00", "user-uploaded-content/"])
def test_an_upload_without_a_signature_is_refused(api, key):
    for method in ("PUT", "DELETE"):
        response = api.with_token(None)(method, f"/blobs/{key}", data=b"x", content_type="text/plain")
        assert response.status_code in (403, 404) and response.json["code"] == response.status_code


def test_a_session_uses_twenty_files_at_most(api, make_done_runner):
    runner, keys = make_done_runner(), []
    for number in range(21):
        upload = ask(api, filename=f"{number}.png")
        put(api, upload)
        keys.append(upload["file_key"])
    refused(api.post(path_of(runner, "/sessions"), {"prompt": "x", "file_keys": keys}), 422, "too_many_files")
    created(api.post(path_of(runner, "/sessions"), {"prompt": "x", "file_keys": keys[:20]}))


def test_an_account_stores_no_more_than_it_may(api, join, make_runner, make_done_runner, worker, configure):
    done = make_done_runner()
    running = make_runner()
    claim = worker.claim(running["latest_session_id"])
    configure(MAX_ACCOUNT_STORED_BYTES="1000")
    upload = "/agent_runners/upload_url"
    ok(api.post(upload, {**FILE, "size": 600}))
    assert "500" not in refused(api.post(upload, {**FILE, "size": 500}), 403, "storage_full")["message"]
    without = {name: value for name, value in FILE.items() if name != "size"}
    refused(api.post(upload, without), 403, "storage_full")
    ok(api.post(upload, {**FILE, "size": 400}))
    assert ok(api.get("/account"))["used"]["stored_bytes"] == 1000
    refused(api.post(path_of(done, "/sessions"), {"prompt": "more"}), 403, "storage_full")
    refused(api.post("/agent_runners", {"site_id": done["site_id"], "prompt": "more"}), 403, "storage_full")
    refused(api.patch(path_of(done), {"result_diff": patch_of("two")}), 403, "storage_full")
    worker.finish(claim, diff=patch_of("one"))
    assert ok(api.get(path_of(running)))["has_result_diff"], "the work of a session is kept"
    ok(join("Eve").admin.post(upload, {**FILE, "size": 400}))


@pytest.mark.parametrize("kind", ["schedules", "agent_runner_hooks"])
def test_prompts_of_schedules_and_hooks_count_at_once(api, make_site, configure, kind):
    """A site may have a hundred of them, of a mebibyte each."""
    configure(MAX_ACCOUNT_STORED_BYTES="1000")
    site = f"/sites/{make_site()['id']}"
    path = f"{site}/{kind}"
    body = {"prompt": "x" * 600, **({"cron": "0 9 * * MON"} if kind == "schedules" else {})}
    made = created(api.post(path, body))
    refused(api.post(path, body), 403, "storage_full")
    refused(api.patch(f"{path}/{made['id']}", {"prompt": "x" * 1001}), 403, "storage_full")
    ok(api.patch(f"{path}/{made['id']}", {"prompt": "x" * 1000}))
    assert ok(api.get("/account"))["used"]["stored_bytes"] == 1000
    ok(api.patch(f"{path}/{made['id']}", {"prompt": "y" * 500, "name": "shorter"}))
    refused(api.post(path, body), 403, "storage_full")
    collect_garbage()
    assert ok(api.get("/account"))["used"]["stored_bytes"] == 500
    empty(api.delete(f"{path}/{made['id']}"), 204)
    collect_garbage()
    assert ok(api.get("/account"))["used"]["stored_bytes"] == 0
    created(api.post(path, body))
    empty(api.delete(site), 204)
    collect_garbage()
    assert ok(api.get("/account"))["used"]["stored_bytes"] == 0


def test_long_prompts_count_at_once(api, make_site, join, configure):
    """Otherwise an account could fill the disk of the database, which all accounts need."""
    configure(MAX_ACCOUNT_STORED_BYTES="50000")
    body = {"site_id": make_site()["id"], "prompt": "x" * 30_000}
    runner = created(api.post("/agent_runners", body))
    assert ok(api.get("/account"))["used"]["stored_bytes"] == 30_000
    refused(api.post("/agent_runners", body), 403, "storage_full")
    created(api.post("/agent_runners", {**body, "prompt": "short"}))
    api.delete(path_of(runner))
    refused(api.post(path_of(runner, "/sessions"), {"prompt": "x" * 30_000}), 403, "storage_full")
    refused(api.post(session_path(runner, rest="/retry"), {}), 403, "storage_full")
    assert ok(api.get("/account"))["used"]["stored_bytes"] == 30_000, "what was refused does not count"
    eve = join("Eve").admin
    other = created(eve.post("/sites", {"repo_url": "https://github.com/example/x.git"}))
    created(eve.post("/agent_runners", {**body, "site_id": other["id"]}))
