"""Comments on a diff, and the prompt that they become."""

from __future__ import annotations

import re

import pytest

from tests.api.calling import ok, path_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")
PATCH = """diff --git a/app.py b/app.py
--- a/app.py
+++ b/app.py
@@ -1,3 +1,4 @@
 one
-two
+TWO
+```
 three
"""


def review_of(page):
    return re.search(r'data-version="(\w+)"', page)[1]


@pytest.fixture
def runner(make_done_runner):
    return make_done_runner(PATCH, agent="claude")


@pytest.fixture
def send(browser, runner):
    """Send comments, each with its lines and text."""

    def post(*comments, **fields):
        version = fields.pop("version", review_of(browser.page(f"/runners/{runner['id']}/changes")))
        form = {
            "file": ["0"] * len(comments),
            "path": ["app.py"] * len(comments),
            "version": [version] * len(comments),
            "lines": [lines for lines, _ in comments],
            "comment": [text for _, text in comments],
        }
        return browser.post(f"/runners/{runner['id']}/review", **form, **fields)

    return post


def test_the_runners_agent_gets_the_comments_unless_another_one_is_chosen(browser, make_done_runner):
    runner = make_done_runner(PATCH, agent="codex")
    for path in ("/changes", "/changes/0"):
        assert browser.page(f"/runners/{runner['id']}{path}").count("<option selected>codex<") == 1, path


def latest_session(api, runner):
    runner = ok(api.get(path_of(runner)))
    return ok(api.get(path_of(runner, f"/sessions/{runner['latest_session_id']}")))


def test_comments_become_one_follow_up_with_the_code(send, api, runner, browser):
    response = send(("L2-R3", "Why?\r\nSay it."), ("", "Add a test."), ("4", " "), note="Thanks.", agent="codex")
    assert response.status_code == 303
    session = latest_session(api, runner)
    _, _, sent = session["prompt"].partition("Thanks.")
    quoted = "`app.py`, lines 2 (removed) to 3\n\n````diff\n-two\n+TWO\n+```\n````\n\nWhy?\nSay it."
    assert sent.strip() == f"## {quoted}\n\n## `app.py`\n\nAdd a test."
    assert session["agent_config"]["agent"] == "codex"
    assert f'data-forget="review:{runner["id"]}"' in browser.page(response.headers["Location"])


def test_comments_on_an_earlier_version_are_sent_without_code(send, api, runner):
    assert send(("R1", "Rename it."), version="0" * 32).status_code == 303
    assert "`app.py`, line 1 of an earlier version\n\nRename it." in latest_session(api, runner)["prompt"]


def test_a_refused_review_creates_nothing(send, api, runner):
    for comments, fields, message in (
        ([("R9", "x")], {}, "names line 9, which the diff does not show"),
        ([("one", "x")], {}, "must be a line such as 12"),
        ([("R1", " ")], {}, "write what should change"),
        ([("R1", "x")] * 101, {}, "at most 100"),
        ([("R1", "x")], {"agent": "nobody"}, "agent"),
    ):
        response = send(*comments, **fields)
        assert response.status_code in (400, 422) and message in response.text
    assert ok(api.get(path_of(runner)))["latest_session_id"] == runner["latest_session_id"]


def test_without_scripts_a_file_has_a_form_that_keeps_what_was_written(browser, api, runner):
    page = browser.page(f"/runners/{runner['id']}/changes/0")
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    refused = browser.post(f"/runners/{runner['id']}/review", **{**form, "lines": "99", "comment": "Keep <me>"})
    assert refused.status_code == 422 and "Keep &lt;me&gt;" in refused.text
    assert (
        browser.post(f"/runners/{runner['id']}/review", **{**form, "lines": "2", "comment": "Better."}).status_code
        == 303
    )
    assert "line 2\n\n```diff\n+TWO\n```\n\nBetter." in latest_session(api, runner)["prompt"]
    again = browser.post(f"/runners/{runner['id']}/review", **{**form, "lines": "3", "comment": "More."})
    assert again.status_code == 409 and "More." in again.text, "a session is active"
