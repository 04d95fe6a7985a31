"""What a body may hold, and how one that may not is refused."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest

from app.models import Site
from app.schemas.agent_runner import CreateRunnerBody, UpdateRunnerBody
from app.schemas.agent_runner_session import CreateSessionBody, ReportBody
from app.schemas.site import UpdateSiteBody
from app.services.execution.reports import Report
from app.services.runners.agent_runners import RunnerUpdate
from app.services.runners.creation import NewRunner, NewSession
from app.services.sites.sites import SiteFields
from tests.api.calling import created, ok, path_of, refused, session_path

pytestmark = pytest.mark.same_on_both_databases

MIB = 1024 * 1024


def test_a_prompt_may_have_a_mebibyte_of_utf8(api, make_site):
    site = make_site()
    longest = "é" * (MIB // 2)
    runner = created(api.post("/agent_runners", {"site_id": site["id"], "prompt": longest}))
    assert ok(api.get(session_path(runner)))["prompt"] == longest
    refused(api.post("/agent_runners", {"site_id": site["id"], "prompt": longest + "x"}), 413, "too_large")


def test_an_inline_diff_may_have_four_mebibytes(api, make_done_runner):
    runner = make_done_runner()
    start = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+"
    ok(api.patch(path_of(runner), {"result_diff": start + "x" * (4 * MIB - len(start))}))
    refused(api.patch(path_of(runner), {"result_diff": start + "x" * (4 * MIB)}), 413, "too_large")


def test_a_body_may_have_eight_mebibytes(api):
    body = json.dumps({"prompt": "x" * (8 * MIB)})
    refused(api.post("/agent_runners", data=body, content_type="application/json"), 413, "too_large")
    # The same without a length, as chunks come.
    chunked = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    arguments = {"input_stream": io.BytesIO(body.encode()), "content_type": "application/json"}
    refused(api.post("/agent_runners", environ_overrides=chunked, **arguments), 413, "too_large")


def test_names_have_one_line(api, make_site):
    site = make_site(name=" The\nshop\u2028")
    assert site["name"] == "The shop"
    run = {"prompt": "x", "agent": "claude"}
    for path, field, more in (
        ("/tokens", "name", {"scope": "read"}),
        ("/account/members", "full_name", {"email": "grace@example.org", "role": "viewer"}),
        (f"/sites/{site['id']}/agent_runner_hooks", "name", run),
        (f"/sites/{site['id']}/schedules", "name", {"cron": "0 9 * * 1", **run}),
    ):
        assert created(api.post(path, {field: "Every\r\n\tday", **more}))[field] == "Every day"


MALFORMED = [b"{", b"", b"nul", b"\xff\xfe\xff", b'{"a": NaN}', b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"{}{}"]


def test_malformed_json_is_refused(api):
    for body in MALFORMED:
        response = api.post("/agent_runners", data=body, content_type="application/json")
        if body:
            refused(response, 400, "malformed_json")
        else:
            assert {"prompt", "site_id"} <= set(refused(response, 422, "invalid")["errors"])


@pytest.mark.parametrize("body", [[], "text", 1, None, [{}]])
def test_json_that_is_no_object_is_refused(api, body):
    refused(api.post("/agent_runners", data=json.dumps(body), content_type="application/json"), 422, "invalid")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_of_another_type_is_refused(api, kind):
    for method, path in (("POST", "/agent_runners"), ("PATCH", "/sites/0197c1de-0000-7000-8000-000000000001")):
        refused(api(method, path, data=b"{}", content_type=kind), 415, "unsupported_media_type")


def test_the_types_of_json_with_a_suffix_or_a_charset_are_json(api, make_site):
    body = json.dumps({"site_id": make_site()["id"], "prompt": "x"})
    for kind in ("application/json; charset=utf-8", "application/merge-patch+json"):
        created(api.post("/agent_runners", data=body, content_type=kind))


INVALID = [
    ("prompt", ""),
    ("prompt", " \n\t"),
    ("prompt", 5),
    ("prompt", None),
    ("prompt", "a\0b"),
    ("prompt", "\ud800"),
    ("prompt", ["x"]),
    ("site_id", 5),
    ("site_id", None),
    ("title", ""),
    ("title", " \n"),
    ("title", "x" * 501),
    ("title", "\0"),
    ("title", "\udfff"),
    ("title", {"x": 1}),
    ("branch", ""),
    ("branch", "x" * 256),
    ("sha", "HEAD"),
    ("sha", "--upload-pack=x"),
    ("sha", "a" * 40 + "\n"),
    ("sha", "abc"),
    ("agent", 1),
    ("model", "--dangerous"),
    ("model", "x\n"),
    ("effort", "$(reboot)"),
    ("mode", "yolo"),
    ("mode", 1),
    ("file_keys", "x"),
    ("file_keys", [1]),
    ("file_keys", ["x"] * 101),
    ("limits", []),
    ("limits", {"max_duration_seconds": 0}),
    ("limits", {"max_duration_seconds": "60"}),
    ("limits", {"max_duration_seconds": 1.5}),
    ("limits", {"max_duration_seconds": True}),
    ("limits", {"max_duration_seconds": 2**31}),
    ("limits", {"max_cost_usd": -1}),
    ("limits", {"max_cost_usd": 0}),
    ("limits", {"max_cost_usd": "1"}),
    ("limits", {"max_tokens": 2**60}),
    ("limits", {"max_patience": 1}),
    ("base_deploy_id", "x" * 201),
    ("prompts", "misspelt"),
    ("state", "DONE"),
]


def test_an_invalid_field_is_refused_by_name(api, make_site):
    site = make_site()
    for field, value in INVALID:
        fields = {"site_id": site["id"], "prompt": "x", field: value}
        assert list(refused(api.post("/agent_runners", fields), 422, "invalid")["errors"]) == [field], value


BAD_BRANCHES = [
    "-x",
    "a..b",
    "a b",
    "a~b",
    "a:b",
    "x.lock",
    "/x",
    "x/",
    "HEAD",
    "refs/tags/v1",
    "refs/heads/",
    "a\\b",
    "a\x7fb",
    ".x",
    "a/.b",
    "x.",
    "a@{b",
    "*",
]


def test_a_branch_that_git_would_refuse_or_misread_is_refused(api, make_site, make_done_runner):
    site = make_site()
    runner = make_done_runner(site=site)
    for branch in BAD_BRANCHES:
        refused(api.post("/agent_runners", {"site_id": site["id"], "prompt": "x", "branch": branch}), 422, "bad_branch")
        refused(api.patch(f"/sites/{site['id']}", {"default_branch": branch}), 422, "bad_branch")
        refused(api.post(path_of(runner, "/commit"), {"target_branch": branch}), 422, "bad_branch")


@pytest.mark.parametrize("branch", ["ab\u200dc", "ab\u200cc", "ab\u00a0c", "😀/ü"])
def test_a_branch_that_git_accepts_is_accepted(api, make_runner, branch):
    assert make_runner(branch=branch)["branch"] == branch


def test_a_branch_is_kept_without_its_prefix(api, make_runner):
    runner = make_runner(branch="refs/heads/feature/x")
    assert runner["branch"] == "feature/x"
    for asked in ("feature/x", "heads/feature/x", "refs/heads/feature/x"):
        assert [each["id"] for each in ok(api.get(f"/agent_runners?branch={asked}"))] == [runner["id"]]


def test_a_prompt_of_any_characters_comes_back_as_it_was(api, make_runner):
    prompt = "tab\t, CR\r\n, 😀, \u202e, \u2028, 'quotes\"; DROP TABLE sites; --, \x01 and $(reboot)"
    runner = make_runner(prompt=prompt)
    assert ok(api.get(session_path(runner)))["prompt"] == prompt


@pytest.mark.parametrize(
    ("body", "taken", "resolved", "internal"),
    [
        # The diff is stored before the runner is created. What did not come from a caller says where it came from.
        (
            CreateRunnerBody,
            NewRunner,
            {"result_diff"},
            {"schedule_id", "issue_number", "quotes_others", "requested_by"},
        ),
        # The answers are checked, and become a part of the prompt.
        (CreateSessionBody, NewSession, {"answers"}, {"quotes_others", "requested_by"}),
        (ReportBody, Report, set(), set()),
        (UpdateRunnerBody, RunnerUpdate, set(), set()),
        (UpdateSiteBody, SiteFields, set(), set()),
    ],
)
def test_a_body_has_the_fields_of_what_the_service_takes(body, taken, resolved, internal):
    assert set(body().fields) - resolved == {field.name for field in dataclasses.fields(taken)} - internal


def test_the_fields_of_a_site_are_its_columns():
    columns = {column.key for column in Site.__mapper__.column_attrs}
    assert {field.name for field in dataclasses.fields(SiteFields)} - columns == {"access_token"}
