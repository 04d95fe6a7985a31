"""What fuzzing the API against its description found: each a promise that was not kept, or a kept one not made."""

from __future__ import annotations

import re

import pytest

from tests.api.calling import ok, path_of, refused, session_path

pytestmark = pytest.mark.same_on_both_databases


@pytest.fixture
def description(api):
    return ok(api.get("/openapi.json"))


@pytest.fixture
def operations(description):
    return {
        operation["operationId"]: operation
        for item in description["paths"].values()
        for operation in item.values()
        if "operationId" in operation
    }


def parameters(operation):
    return {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}


def test_a_whole_number_may_be_written_with_a_point(api, make_site):
    site = make_site(max_duration_seconds=60.0)
    assert site["max_duration_seconds"] == 60
    refused(api.patch(f"/sites/{site['id']}", {"max_duration_seconds": 60.5}), 422, "invalid")
    refused(api.patch(f"/sites/{site['id']}", {"max_duration_seconds": "60"}), 422, "invalid")


def test_a_diff_both_inline_and_by_key_is_refused_with_its_field(api, make_done_runner):
    runner = make_done_runner()
    body = refused(api.patch(path_of(runner), {"result_diff": "x", "result_diff_s3_key": "y"}), 422, "two_diffs")
    assert list(body["errors"]) == ["result_diff_s3_key"]
    both = {"cumulative_diff": "x", "cumulative_diff_s3_key": "y"}
    refused(api.patch(session_path(runner), both), 422, "two_diffs")


def test_an_invalid_cursor_is_refused_by_name(api):
    refused(api.get("/agent_runners", query_string={"cursor": "0"}), 422, "bad_cursor")


TOO_FAR = ["-62135596800", "-62104060801", "253370764800", "1e300", "nan"]


def test_unix_seconds_out_of_range_are_refused_as_dates_are(api, operations):
    for seconds in TOO_FAR:
        refused(api.get("/agent_runners", query_string={"to": seconds}), 422, "invalid")
    refused(api.get("/agent_runners", query_string={"to": "0001-01-01T00:00:00Z"}), 422, "invalid")
    assert ok(api.get("/agent_runners", query_string={"to": "-62104060800"})) == []
    kinds = parameters(operations["listAgentRunners"])["to"]["anyOf"]
    assert [kind["type"] for kind in kinds] == ["string", "number", "number"]


def test_the_description_says_what_text_leaves_out(description):
    bodies = description["components"]["schemas"]
    assert bodies["CreateRunnerBody"]["properties"]["branch"]["pattern"] == r"^[^\x00]*$"
    prompt = re.compile(bodies["CreateRunnerBody"]["properties"]["prompt"]["pattern"])
    assert prompt.search("\u200b two\nlines ")
    assert not any(map(prompt.search, ("", " \n", "\u200b\u00ad", "a\0")))
    assert bodies["CreateRunnerBody"]["properties"]["sha"]["pattern"] == "^[0-9a-fA-F]{7,64}$"


def test_the_description_says_that_further_fields_are_refused(description):
    bodies = [schema for name, schema in description["components"]["schemas"].items() if name.endswith("Body")]
    # A step that was read may be sent again as it is, with what else it shows.
    assert len([body for body in bodies if body.get("additionalProperties") is not False]) == 1


def test_a_name_in_the_place_of_an_id_is_not_an_id(api):
    for name in ("upload_url", "delete_url"):
        for method in ("GET", "PATCH", "DELETE"):
            refused(api(method, f"/agent_runners/{name}"), 405, "method_not_allowed")


def test_a_field_without_a_name_is_distinguished_from_the_body(api):
    assert refused(api.post("/sites", {"repo_url": "x", "": 1}), 422, "invalid")["message"].startswith('"": is not')


def test_the_description_says_which_states_a_filter_takes(operations):
    assert parameters(operations["listSessions"])["state"]["pattern"].startswith("^ *([Nn][Ee][Ww]|")


def test_the_description_of_request_ids_holds_for_any_length(api, operations):
    answer = api.get("/sites", headers={"X-Request-Id": "x" * 129})
    assert answer.status_code == 200 and answer.headers["X-Request-Id"] != "x" * 129
    assert parameters(operations["listSites"])["X-Request-Id"] == {"type": "string"}


def test_a_patch_without_a_body_changes_nothing_and_is_documented(api, operations, make_site):
    site = make_site()
    assert ok(api("PATCH", f"/sites/{site['id']}"))["name"] == site["name"]
    for name in ("updateSite", "updateAgentRunner", "updateSession"):
        assert operations[name]["requestBody"]["required"] is False


def test_the_parts_of_the_page_have_the_types_that_are_described(api, operations):
    described = set(operations["getDocsPart"]["responses"]["200"]["content"])
    sent = {api.get(f"/docs/{name}").mimetype for name in ("page.js", "page.css")}
    assert sent == described == {"text/javascript", "text/css"}


def test_the_messages_of_an_event_stream_are_described(description, operations):
    content = operations["streamSessionEvents"]["responses"]["200"]["content"]
    assert content["text/event-stream"]["schema"] == {"$ref": "#/components/schemas/Message"}
    assert description["components"]["schemas"]["Message"]["required"] == ["data", "event"]
