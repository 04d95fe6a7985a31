"""What the pages show, and what their forms do."""

from __future__ import annotations

import html
import json
import re
import string
import uuid
import zlib
from base64 import b85encode

import pytest
import sqlalchemy as sa

from app import db
from app.console.views.diff import FIRST_BYTES
from app.models import AgentRunner, Publication
from app.models.states import Scope, SessionState
from app.services.execution.outcomes import Failure
from app.services.preflights import preflights
from app.services.runners import comparisons
from app.services.sites import branches
from tests.api.calling import Person, created, ok, patch_of, path_of
from tests.console.test_rendering import HOSTILE, Shown
from tests.matrix import FULL

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")


SCRIPTS = {"htmx.min.js", "hx-csp.min.js", "hx-sse.min.js", "console.js", "review.js", "files.js"}


def link_of(runner, rest=""):
    return f"/runners/{runner['id']}{rest}"


def test_an_account_without_runners_learns_how_to_begin(browser):
    assert "From a prompt to a reviewed pull request" in browser.page("/")
    assert "Add a site first" in browser.page("/runners/new")


def test_runners_are_grouped_with_failures_first(browser, worker, make_site, make_runner, make_done_runner):
    site = make_site()
    failed, waiting = make_runner(site=site, title="Broken"), make_runner(site=site, title="Queued")
    claim = worker.claim(failed["latest_session_id"])
    failure = Failure("repository_auth", "checkout", False, "The token was not accepted.")
    worker.finish(claim, SessionState.ERROR, failure=failure)
    page = browser.page("/")
    assert page.index("Broken") < page.index("The token was not accepted.") < page.index("Queued")
    assert "Queued" not in browser.page("/?state=ERROR")
    assert "Broken" not in browser.part("/?q=queu").text
    assert "No runner matches" in browser.page(f"/?site_id={waiting['id']}")
    assert browser.get("/?site_id=x").status_code == 422 and browser.get("/?state=ERROR&page=0").status_code == 422


def test_what_is_done_comes_first_until_it_was_looked_at(browser, join, sign_in, make_done_runner, follow_up):
    runner = make_done_runner(title="Ready")
    heading = "Done, not looked at yet"
    assert heading in browser.page("/")
    browser.page(link_of(runner))
    assert heading not in browser.page("/")
    follow_up(runner, patch_of("two"))
    assert heading in browser.page("/"), "there is something new to see"
    browser.page(link_of(runner, "/changes"))
    assert heading not in browser.page("/") and heading not in sign_in(join("Eve")).page("/")


def test_a_pull_request_with_conflicts_needs_a_person(browser, make_done_runner):
    runner = make_done_runner(title="Behind")
    browser.page(link_of(runner))
    merges = {"pr_number": 7, "pr_state": "open", "conflicts": ["<a>.py"], "mergeable": False}
    for state, heading in (("open", True), ("merged", False)):
        with db.transaction():
            db.session.execute(sa.update(AgentRunner).values({**merges, "pr_state": state}))
        page = browser.page("/")
        assert ("Pull request with conflicts" in page) is heading and ("&lt;a&gt;.py" in page) is heading


def test_checks_of_a_pull_request_are_beside_it(browser, make_done_runner):
    runner = make_done_runner()
    failures = [{"name": "<b>lint", "url": "https://ci.example.com/1"}, {"name": "docs", "url": None}]
    counts = {"passed": 1, "failed": 22, "pending": 0, "failures": failures}
    shown = (
        (counts | {"state": "failing"}, "22 of 23 checks failed"),
        ({"state": "pending", "passed": 0, "failed": 0, "pending": 1, "failures": []}, "1 of 1 check not ended"),
        ({"state": "passing", "passed": 2, "failed": 0, "pending": 0, "failures": []}, "2 checks passed"),
    )
    opened = {"pr_number": 7, "pr_state": "open", "pr_url": "https://forge.example.com/7", "pr_checked_at": db.now()}
    for results, text in shown:
        with db.transaction():
            db.session.execute(sa.update(AgentRunner).values({**opened, "pr_check_results": results}))
        page = browser.page(link_of(runner))
        assert text in page and ("and 20 more" in page) is (results["state"] == "failing")
        assert ('<a href="https://ci.example.com/1" rel="noopener noreferrer">&lt;b&gt;lint</a>' in page) is (
            results["state"] == "failing"
        )
        assert ("Checks failed" in browser.page("/")) is (results["state"] == "failing")


def test_viewed_files_are_marked_until_they_change(browser, make_done_runner, follow_up):
    runner = make_done_runner(patch_of("one") + patch_of("two", "other.txt"))
    page = browser.page(link_of(runner, "/changes"))
    version = re.search(r'data-version="(\w+)"', page)[1]
    assert "0 of 2 viewed" in page and page.count("<details open>") == 2
    for number in range(2):
        marked = browser.post(link_of(runner, f"/changes/{number}/viewed"), version=version, viewed="on")
        assert marked.headers["Location"].endswith(f"/changes#file-{number}")
    browser.post(link_of(runner, "/changes/1/viewed"), version=version)
    page = browser.page(link_of(runner, "/changes"))
    assert "1 of 2 viewed" in page and page.count("<details open>") == 1
    follow_up(runner, patch_of("one") + patch_of("three", "other.txt"))
    assert "1 of 2 viewed" in browser.page(link_of(runner, "/changes")), "the first file is as it was"
    again = browser.post(link_of(runner, "/changes/1/viewed"), version=version, viewed="on")
    assert again.status_code == 409 and "Reload it" in again.text


SPACED = """diff --git a/a.py b/a.py
--- a/a.py
+++ b/a.py
@@ -1,4 +1,4 @@
 def f():
-  return 1
-gone
+    return 1
+came
 Needle
"""


def test_a_diff_is_searched_and_laid_out(browser, make_done_runner):
    runner = make_done_runner(patch_of("needle") + SPACED)
    found = browser.page(link_of(runner, "/changes?q=NEEDLE"))
    assert "2 lines" in found and "a.py:4" in found
    assert f'href="{link_of(runner, "/changes?page=1#f1-R4")}"' in found and "#f0-R1" in found
    assert "No lines" in browser.page(link_of(runner, "/changes?q=absent"))
    split = browser.part(link_of(runner, "/changes/1?view=split")).text
    assert '<td class="ln delete" id="f1-L3" data-n="3"></td>' in split and split.count("<td") == 2 + 2 * 2 * 2 + 4 * 2
    ignoring = browser.part(link_of(runner, "/changes/1?space=ignore")).text
    assert ignoring.count('class="delete"') == ignoring.count('class="add"') == 1 and 'id="f1-R2"' in ignoring
    assert "view=split" in browser.page(link_of(runner, "/changes?view=split&space=ignore"))
    assert browser.page(link_of(runner, "/changes")).count('class="code beside"') == 2, "the layout is kept"


def test_generated_files_are_folded_and_sensitive_ones_are_named(browser, api, make_done_runner):
    sensitive = patch_of("on: push", ".github/workflows/ci.yml") + patch_of("* @eve", "CODEOWNERS")
    runner = make_done_runner(patch_of("{}", "web/package-lock.json") + patch_of("one") + sensitive)
    page = browser.page(link_of(runner, "/changes"))
    assert page.count("Show its changes") == 1 and page.count('<table class="code"') == 3
    assert page.index("web/package-lock.json") < page.index(">generated<") < page.index("Show its changes")
    assert 'class="tag is-warn">CI workflows<' in page and 'class="tag is-warn">CODEOWNERS<' in page
    assert link_of(runner, "/sensitive") in browser.page(link_of(runner))
    warning = browser.part(link_of(runner, "/sensitive")).text
    assert "Look closely" in warning and "CODEOWNERS: <code>CODEOWNERS</code>" in warning
    with db.transaction():
        branches.record(uuid.UUID(runner["site_id"]), ["main"], ["*.txt", "!*.json"])
    page = browser.page(link_of(runner, "/changes"))
    assert page.index("hello.txt") < page.index(">generated<") and page.count("Show its changes") == 1
    ok(api.patch(f"/sites/{runner['site_id']}", {"sensitive_files": "refuse"}))
    assert "The site refuses" in browser.post(link_of(runner, "/pull-request")).text
    harmless = browser.part(link_of(make_done_runner(), "/sensitive")).text
    assert harmless.strip() == ""


def test_two_sessions_are_compared(browser, make_done_runner, follow_up):
    runner = make_done_runner()
    assert "Compare sessions" not in browser.page(link_of(runner, "/changes"))
    second, third = follow_up(runner, patch_of("two", "other.txt")), follow_up(runner, patch_of("three"))
    ids = [runner["latest_session_id"], second["id"], third["id"]]
    assert browser.page(link_of(runner, "/changes")).count('">Session 3</option>') == 1
    path = link_of(runner, "/comparisons")
    made = browser.post(path, from_session_id=ids[0], to_session_id=ids[1]).headers["Location"]
    page = browser.page(made)
    assert "Session 1 to session 2</option>" in page and "other.txt" in page
    assert "two</td>" in browser.part(made.replace("/changes?", "/changes/0?")).text
    query = made.rpartition("?")[2]
    assert browser.page(f"{link_of(runner, '/changes')}?session_id=all&{query}").count('id="file-') == 1
    pending = browser.post(path, from_session_id=ids[0], to_session_id=ids[2]).headers["Location"]
    assert "Comparing…" in browser.page(pending)
    with db.transaction():
        comparisons.fail(uuid.UUID(pending.rpartition("=")[2]), "diff_failed", HOSTILE[0])
    assert "The comparison failed" in browser.page(pending)
    assert browser.part(f"{path}/{made.rpartition('=')[2]}").headers["HX-Refresh"] == "true"
    refused = browser.post(path, from_session_id="", to_session_id="")
    assert refused.status_code == 422 and "to_session_id" in refused.text
    assert browser.get(f"{link_of(runner, '/changes')}?comparison=x").status_code == 404


def binary(*sides):
    """A patch of a binary file as git writes it."""
    lines = ["diff --git a/logo.png b/logo.png", f"index {'1' * 40}..{'2' * 40} 100644", "GIT binary patch"]
    for content in sides:
        packed = zlib.compress(content)
        pieces = [packed[at : at + 52] for at in range(0, len(packed), 52)]
        letters = string.ascii_uppercase + string.ascii_lowercase
        lines += [
            f"literal {len(content)}",
            *(letters[len(p) - 1] + b85encode(p, pad=True).decode() for p in pieces),
            "",
        ]
    return "\n".join([*lines, ""])


def test_pictures_are_shown_before_and_after(browser, make_done_runner):
    pixels = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3
    runner = make_done_runner(binary(pixels, b"\xff\xd8\xff old") + binary(b"<svg onload=alert(1)>", b"plain"))
    for page in (browser.part(link_of(runner, "/changes/0")).text, browser.page(link_of(runner, "/changes/0"))):
        assert f'src="{link_of(runner, "/changes/0/before")}" alt="logo.png before the change"' in page
    after = browser.get(link_of(runner, "/changes/0/after"))
    assert (after.data, after.content_type, after.headers["X-Content-Type-Options"]) == (pixels, "image/png", "nosniff")
    assert browser.get(link_of(runner, "/changes/0/before")).content_type == "image/jpeg"
    assert "Binary file" in browser.page(link_of(runner, "/changes/1")), "only pictures that cannot run anything"
    assert browser.get(link_of(runner, "/changes/1/after")).status_code == 404


def test_pages_of_a_list_keep_their_filter(browser, make_site, make_runner, monkeypatch):
    monkeypatch.setattr("app.console.views.home.PER_PAGE", 2)
    site = make_site()
    for number in range(3):
        make_runner(site=site, title=f"Task {number}")
    first = browser.page("/?state=NEW&q=task")
    assert 'href="/?state=NEW&amp;q=task&amp;page=2"' in first and "Task 0" not in first
    assert "Task 0" in browser.page("/?state=NEW&q=task&page=2")


def test_a_prompt_makes_a_runner(browser, api, make_site):
    site = make_site()
    fields = {
        "site_id": site["id"],
        "prompt": "Fix it.\r\nPlease.",
        "agent": "shell",
        "minutes": "5",
        "max_cost_usd": "2.5",
    }
    response = browser.post("/runners", **fields)
    assert response.status_code == 303
    runner = ok(api.get("/agent_runners"))[0]
    session = ok(api.get(path_of(runner, f"/sessions/{runner['latest_session_id']}")))
    assert (session["prompt"], session["agent_config"]["agent"]) == ("Fix it.\nPlease.", "shell")
    assert session["limits"] == {"max_duration_seconds": 300, "max_cost_usd": 2.5, "max_tokens": None}
    assert "Fix it." in browser.page(response.headers["Location"])


def test_files_are_attached(browser, api, worker, make_site):
    fields = {"filename": "sketch.png", "content_type": "image/png", "size": "3"}
    place = browser.post("/runners/upload", **fields).json
    assert place["url"].startswith("/api/v1/blobs/")
    assert browser.client.put(place["url"], data=b"png", headers=place["headers"]).status_code == 200
    browser.post("/runners", site_id=make_site()["id"], prompt="Draw it.", file_keys=[place["key"]])
    runner = ok(api.get("/agent_runners"))[0]
    assert runner["attached_file_keys"] == [place["key"]]
    again = browser.page(f"/runners/new?again={runner['id']}&session={runner['latest_session_id']}")
    assert "Draw it.</textarea>" in again and place["key"] in again and "sketch.png" in again
    worker.finish(worker.claim(runner["latest_session_id"]))
    follow_up = {"prompt": "Draw it again.", "file_keys": [place["key"]]}
    refused = browser.post(link_of(runner, "/follow-up"), **{**follow_up, "mode": "none"})
    assert refused.status_code == 422 and place["key"] in refused.text, "the files stay in the form"
    browser.post(link_of(runner, "/follow-up"), **follow_up)
    assert ok(api.get(path_of(runner)))["attached_file_keys"] == [place["key"]]
    refused = browser.post("/runners/upload", **{**fields, "filename": "a/b"})
    assert refused.status_code == 422 and "must be a file name" in refused.json["message"]


def test_one_prompt_is_given_to_several_agents_and_compared(browser, api, worker, make_site):
    site = make_site(name="Shop")
    fields = {"site_id": site["id"], "prompt": "Fix it.", "agent": "claude", "model": "opus", "minutes": "1.5"}
    refused = browser.post("/runners", **fields, also=["codex", "nobody"])
    assert refused.status_code == 422 and ok(api.get("/agent_runners")) == [], "all or none"
    response = browser.post("/runners", **fields, also=["codex", "claude"])
    assert response.headers["Location"].startswith("/compare?runner=")
    runners = {runner["latest_session_id"]: runner for runner in ok(api.get("/agent_runners"))}
    assert len(runners) == 2
    claim = worker.claim(next(iter(runners)))
    worker.hand_over(claim, "gemini", "gemini-2.5-pro")
    worker.finish(claim, diff=patch_of("one"), result="All *done*.", usage={"cost_usd": 0.25})
    page = browser.page(response.headers["Location"])
    successor = f"then gemini · {html.escape('gemini-2.5-pro')}"
    assert successor in page and successor in browser.page(link_of(runners[str(claim.session.id)]))
    assert "<span>gemini</span>" in browser.page("/")
    assert "<em>done</em>" in page and "hello.txt" in page and "$0.25" in page and "Waiting" in page
    assert page.index(">claude</a>") < page.index(">codex</a>")
    assert "<html" not in browser.part(response.headers["Location"]).text
    assert "Nothing to compare" in browser.page("/compare")
    assert browser.get(f"/compare?runner={site['id']}").status_code == 404
    first = next(iter(runners.values()))
    again = browser.page(f"/runners/new?again={first['id']}&session={first['latest_session_id']}")
    assert 'value="opus"' in again and 'value="1.5"' in again and "Fix it.</textarea>" in again


def test_the_overview_counts_what_sessions_did(
    browser, join, sign_in, worker, make_site, make_runner, make_done_runner
):
    assert "No sessions in this time" in browser.page("/overview")
    site = make_site(name="<Shop>")
    done = make_runner(site=site, agent="claude")
    worker.finish(worker.claim(done["latest_session_id"]), usage={"cost_usd": 1.5})
    failed = make_runner(site=site, agent="codex")
    failure = Failure("agent_failed", "agent", False, "It broke.")
    worker.finish(worker.claim(failed["latest_session_id"]), SessionState.ERROR, failure=failure)
    make_runner(site=site, agent="codex")
    page = browser.page("/overview?days=7")
    assert ": 1 done, 1 failed, 1 others</title>" in page and page.count("<title>") == 8
    assert "&lt;Shop&gt;" in page and "<code>agent_failed</code>" in page and "$1.50" in page
    row = re.search(r'<th scope="row">codex</th>(.*?)</tr>', page)[1]
    assert re.findall(r">([^<>]+)</td>", row)[:3] == ["2", "0 %", "1"]
    assert "1 waiting" in page and "No sessions" in sign_in(join("Eve")).page("/overview?days=x")


def test_a_refused_form_keeps_what_was_written(browser, make_site):
    site = make_site()
    response = browser.post("/runners", site_id=site["id"], prompt="Keep <me>", branch="-x", max_tokens="many")
    assert response.status_code == 422
    assert "Keep &lt;me&gt;" in response.text and "must be a whole number" in response.text


def test_a_runner_shows_its_steps_result_and_changes(browser, worker, make_runner):
    runner = make_runner(agent="claude")
    claim = worker.claim(runner["latest_session_id"])
    worker.step(claim, "Reading the code", "Reading the code\n\nIt is **short**.")
    worker.finish(claim, diff=patch_of("one"), result="All *done*.")
    page = browser.page(link_of(runner))
    assert "Reading the code" in page and "<em>done</em>" in page and "Open a pull request" in page
    changes = browser.page(link_of(runner, "/changes"))
    assert "hello.txt" in changes and "one</td>" in changes
    assert "one</td>" in browser.part(link_of(runner, "/changes/0")).text
    assert browser.get(link_of(runner, "/changes/1")).status_code == 404
    with browser.get(link_of(runner, "/changes.diff")) as download:
        assert download.text == patch_of("one")


def test_files_after_the_first_are_read_when_they_come_into_view(browser, make_done_runner):
    texts = ["one", "x" * FIRST_BYTES, "three"]
    patches = [patch_of(text, f"{number}.txt") for number, text in enumerate(texts)]
    page = browser.page(path := link_of(make_done_runner("".join(patches)), "/changes"))
    assert "one</td>" in page and page.count('hx-trigger="intersect once"') == 2
    assert "three</td>" in browser.part(f"{path}/2").text
    assert "three</td>" in browser.page(f"{path}?files=shown")


def test_the_page_asks_for_what_is_new_after_the_last_step(browser, worker, make_runner):
    runner = make_runner()
    claim = worker.claim(runner["latest_session_id"])
    worker.step(claim, "first step")
    page = browser.page(link_of(runner))
    url = re.search(r'data-url="([^"]+)" data-after="(\d+)"', page)
    live = f"{url[1].replace('&amp;', '&')}&after={url[2]}"
    assert "first step</" not in browser.part(live).text
    worker.step(claim, "second step")
    response = browser.part(live)
    assert "second step" in response.text and response.headers["Steps-More"] == "false"
    again = browser.part(f"{url[1].replace('&amp;', '&')}&after={response.headers['Steps-After']}")
    assert 'id="step-' not in again.text
    worker.lose(claim)
    worker.claim(runner["latest_session_id"])
    assert browser.part(live).headers["HX-Refresh"] == "true", "another attempt has other steps"


def test_when_a_session_ends_the_page_offers_to_go_back(browser, api, worker, make_done_runner):
    runner = make_done_runner()
    browser.post(link_of(runner, "/follow-up"), prompt="More.")
    claim = worker.claim(ok(api.get(path_of(runner)))["latest_session_id"])
    live = re.search(r'data-url="([^"]+)"', browser.page(link_of(runner)))[1].replace("&amp;", "&")
    offer = link_of(runner, f"/revert?session_id={runner['latest_session_id']}")
    assert offer not in browser.part(live).text
    worker.finish(claim, diff=patch_of("two"))
    assert offer in browser.part(live).text


def test_questions_come_first_and_are_answered_by_a_choice_or_in_words(browser, api, make_runner, worker):
    runner = make_runner(title="Curious")
    questions = [
        {"question": "Which sign?", "choices": ["plus", "minus"]},
        {"question": "And <b>the name</b>?", "choices": []},
    ]
    worker.run(runner["latest_session_id"], patch_of("one"), questions=questions)
    page = browser.page("/")
    assert page.index("Waiting for your answer") < page.index("Curious") and page.count("Curious") == 1
    shown = browser.page(link_of(runner))
    assert "minus" in shown and "&lt;b&gt;the name" in shown
    first, second = ok(api.get(path_of(runner)))["questions"]
    assert browser.post(link_of(runner, "/follow-up")).status_code == 422, "nothing is answered"
    form = {f"choice-{first['id']}": "minus", f"answer-{second['id']}": "sum"}
    assert browser.post(link_of(runner, "/follow-up"), **form).status_code == 303
    prompt = ok(api.get(path_of(runner, "/sessions")))[-1]["prompt"]
    assert "Answer: minus" in prompt and "Answer: sum" in prompt
    assert f"answer-{first['id']}" not in browser.page(link_of(runner))


def test_a_plan_is_shown_and_carried_out(browser, api, make_done_runner):
    runner = make_done_runner(None, mode="plan")
    assert "Carry out the plan" in browser.page(link_of(runner))
    assert browser.post(link_of(runner, "/follow-up"), prompt="Carry out the plan.").status_code == 303
    changed = ok(api.get(path_of(runner)))
    assert (changed["latest_session_mode"], changed["state"]) == ("normal", "NEW")
    assert 'value="Carry out the plan."' not in browser.page(link_of(runner))


def test_a_session_is_followed_up_stopped_and_tried_again(browser, api, worker, make_done_runner):
    runner = make_done_runner()
    assert browser.post(link_of(runner, "/follow-up"), prompt="More.").status_code == 303
    refused = browser.post(link_of(runner, "/follow-up"), prompt="And more.")
    assert refused.status_code == 409 and "note is-bad" in refused.text
    claim = worker.claim(ok(api.get(path_of(runner)))["latest_session_id"])
    assert browser.post(link_of(runner, "/stop")).status_code == 303
    assert "Stopping" in browser.page(link_of(runner))
    worker.keep(claim)
    assert "Nothing was changed" in browser.page(link_of(runner)), "its worker has said that it ended"
    session = ok(api.get(path_of(runner)))["latest_session_id"]
    assert browser.post(link_of(runner, f"/sessions/{session}/retry")).status_code == 303
    assert claim is not None and ok(api.get(path_of(runner)))["state"] == "NEW"


def test_a_revert_is_shown_before_it_is_done(browser, api, make_done_runner, follow_up):
    runner = make_done_runner()
    later = follow_up(runner, patch_of("two", "other.txt"))
    first = runner["latest_session_id"]
    preview = browser.page(link_of(runner, f"/revert?session_id={first}"))
    assert re.search(r"goes</span><code>other.txt", preview) and re.search(r"comes</span><code>hello.txt", preview)
    assert ok(api.get(path_of(runner)))["head_session_id"] == later["id"]
    browser.post(link_of(runner, "/revert"), session_id=first)
    assert ok(api.get(path_of(runner)))["head_session_id"] == first
    browser.post(link_of(runner, "/revert"), session_id="")
    assert ok(api.get(path_of(runner)))["has_result_diff"] is False


def test_work_is_compared_with_its_branch_and_rebased(browser, api, make_done_runner, follow_up):
    runner = make_done_runner()
    follow_up(runner, patch_of("two"), base_sha="a" * 40)
    assert "Rebase on the branch" in browser.page(link_of(runner))
    assert browser.post(link_of(runner, "/refresh")).status_code == 303
    assert "comparing" in browser.page(link_of(runner))
    assert browser.post(link_of(runner, "/rebase")).status_code == 303
    assert ok(api.get(path_of(runner)))["latest_session_mode"] == "rebase"


def test_the_agent_is_asked_to_resolve_conflicts(browser, api, make_done_runner, follow_up, worker):
    runner = make_done_runner()
    follow_up(runner, patch_of("two"), base_sha="a" * 40)
    assert "Have the agent resolve them" not in browser.page(link_of(runner))
    with db.transaction():
        change = sa.update(AgentRunner).where(AgentRunner.id == uuid.UUID(runner["id"]))
        db.session.execute(change.values(mergeable=False, conflicts=["hello.txt"]))
    assert "Have the agent resolve them" in browser.page(link_of(runner))
    assert browser.post(link_of(runner, "/rebase"), resolve="agent").status_code == 303
    newest = ok(api.get(path_of(runner, "/sessions")))[-1]
    assert (newest["mode"], newest["resolve"]) == ("rebase", "agent")


def test_the_issue_that_a_runner_was_started_for_is_shown(browser, api, make_runner):
    runner = make_runner()
    with db.transaction():
        change = sa.update(AgentRunner).where(AgentRunner.id == uuid.UUID(runner["id"]))
        db.session.execute(change.values(issue_number=17))
    assert ok(api.get(path_of(runner)))["issue_number"] == 17
    assert '<dt>Issue</dt><dd class="num">#17</dd>' in browser.page(link_of(runner))


def test_work_is_published(browser, api, make_done_runner):
    runner = make_done_runner()
    assert browser.post(link_of(runner, "/pull-request"), title="Ship it", draft="on").status_code == 303
    assert ok(api.get(path_of(runner)))["pr_is_being_created"] is True
    assert "Opening the pull request" in browser.page(link_of(runner))
    refused = browser.post(link_of(runner, "/commit"), target_branch="main")
    assert refused.status_code == 400 and "main is a protected branch" in refused.text
    browser.post(link_of(runner, "/commit"), target_branch="staging", squash="on", message="Without scripts")
    assert ok(api.get(path_of(runner)))["merge_commit_is_being_created"] is True
    with db.transaction(read_only=True):
        assert "Without scripts" in db.session.scalars(sa.select(Publication.body)).all()


def test_a_runner_is_renamed_archived_and_unarchived(browser, api, make_done_runner):
    runner = make_done_runner()
    browser.post(link_of(runner, "/rename"), title="Better")
    browser.post(link_of(runner, "/archive"))
    shown = ok(api.get(path_of(runner)))
    assert (shown["title"], shown["state"]) == ("Better", "ARCHIVED")
    assert "This runner is archived" in browser.page(link_of(runner))
    browser.post(link_of(runner, "/unarchive"))
    assert ok(api.get(path_of(runner)))["state"] == "DONE"


def test_an_administrator_deletes_a_runner_for_good_after_a_question(browser, api, make_done_runner):
    runner = make_done_runner(title="Pasted by mistake")
    assert f'href="{link_of(runner, "/purge")}"' in browser.page(link_of(runner))
    question = browser.page(link_of(runner, "/purge"))
    assert "1 session," in question and "cannot be undone" in question
    assert browser.post(link_of(runner, "/purge")).headers["Location"] == "/"
    assert api.get(path_of(runner)).status_code == 404 and "Pasted by mistake" not in browser.page("/")


def test_a_runner_that_is_at_work_is_not_deleted(browser, api, make_runner):
    runner = make_runner()
    assert link_of(runner, "/purge") not in browser.page(link_of(runner))
    refusal = browser.post(link_of(runner, "/purge"))
    assert refusal.status_code == 409 and "stop it" in refusal.text
    assert ok(api.get(path_of(runner)))["state"] == "NEW"


def test_only_administrators_are_offered_to_delete_a_runner(ada, sign_in, make_done_runner):
    runner = make_done_runner()
    writer = sign_in(Person(ada.user, ada.holding(Scope.WRITE)))
    assert link_of(runner, "/purge") not in writer.page(link_of(runner))
    assert writer.get(link_of(runner, "/purge")).status_code == 403
    assert writer.post(link_of(runner, "/purge")).status_code == 403


def test_a_site_that_uses_the_github_app_needs_no_token(browser, api, configure):
    configure(GITHUB_APP_ID="7", GITHUB_APP_KEY_FILE="app.pem", GITHUB_APP_GRANTS="*=acme")
    for owner in ("acme", "widgets"):
        created(api.post("/sites", {"repo_url": f"https://github.com/{owner}/shop.git"}))
    listed = browser.page("/sites")
    assert listed.count("GitHub App</span>") == 1 and listed.count("no token</span>") == 1
    mine, other = (browser.page(f"/sites/{site['id']}") for site in ok(api.get("/sites")))
    assert "GitHub App is used" in mine and "GitHub App is used" not in other


def test_a_site_is_created_changed_and_deleted(browser, api):
    fields = {
        "repo_url": "https://github.com/example/shop.git",
        "egress_hosts": "pypi.org\r\n\r\nnpmjs.org",
        "access_token": "correct-horse",
    }
    assert browser.post("/sites", **fields).status_code == 303
    site = ok(api.get("/sites"))[0]
    assert (site["name"], site["egress_hosts"], site["has_access_token"]) == ("shop", ["pypi.org", "npmjs.org"], True)
    page = browser.page(f"/sites/{site['id']}")
    assert "pypi.org\nnpmjs.org" in page and "correct-horse" not in page
    kept = {
        "repo_url": site["repo_url"],
        "name": "Shop",
        "forge": "github",
        "egress_hosts": "pypi.org",
        "max_cost_usd": "1.5",
        "waits_for_quota": "on",
        "fallback_agents": "codex, claude:sonnet",
        "setup_cache_files": "package-lock.json\r\n",
        "sparse_paths": "services/shop\r\nlibs\r\n",
        "partial_clone": "on",
    }
    assert browser.post(f"/sites/{site['id']}", **kept).status_code == 303
    site = ok(api.get(f"/sites/{site['id']}"))
    assert (site["name"], site["egress_hosts"], site["max_cost_usd"]) == ("Shop", ["pypi.org"], 1.5)
    assert site["has_access_token"] is True and site["on_quota"] == "wait"
    assert site["fallback_agents"] == ["codex", "claude:sonnet"]
    assert site["setup_cache_files"] == ["package-lock.json"] and site["sparse_paths"] == ["services/shop", "libs"]
    page = browser.page(f"/sites/{site['id']}")
    assert 'value="codex, claude:sonnet"' in page and ">package-lock.json</textarea>" in page
    assert ">services/shop\nlibs</textarea>" in page
    assert site["partial_clone"] and 'name="partial_clone" checked' in page
    browser.post(f"/sites/{site['id']}", repo_url=site["repo_url"], always_sets_up="on")
    assert ok(api.get(f"/sites/{site['id']}"))["setup_cache_files"] == []
    assert 'name="always_sets_up" checked' in browser.page(f"/sites/{site['id']}")
    browser.post(f"/sites/{site['id']}", repo_url=site["repo_url"])
    site = ok(api.get(f"/sites/{site['id']}"))
    assert site["setup_cache_files"] is None and site["fallback_agents"] is None and site["sparse_paths"] is None
    assert site["partial_clone"] is False
    refused = browser.post(f"/sites/{site['id']}", repo_url="ext::sh -c x")
    assert refused.status_code == 422 and "ext::sh -c x" in refused.text
    browser.post(f"/sites/{site['id']}/delete")
    assert ok(api.get("/sites")) == []


def test_variables_of_a_site_are_added_and_deleted(browser, api, make_site):
    site = make_site()
    path = f"/sites/{site['id']}"
    api.post("/account/variables", {"name": "OF_ACCOUNT", "value": "value-of-the-account"})
    added = {"name": "NPM_TOKEN", "value": "correct-horse", "stage": "setup"}
    assert browser.post(f"{path}/variables", **added).status_code == 303
    [variable] = ok(api.get(f"{path}/variables"))
    assert (variable["secret"], variable["stage"]) == (True, "setup")
    page = browser.page(path)
    assert "NPM_TOKEN" in page and "OF_ACCOUNT" in page and "correct-horse" not in page
    refused = browser.post(f"{path}/variables", name="PATH", value="correct-horse")
    assert refused.status_code == 422 and "set by the sandbox" in refused.text and "correct-horse" not in refused.text
    assert site["repo_url"] in refused.text, "the form of the site keeps its fields"
    browser.post(f"{path}/variables/{variable['id']}/delete")
    assert ok(api.get(f"{path}/variables")) == []


def test_branches_are_suggested(browser, api, join, sign_in, make_site):
    site = make_site(default_branch="main")
    path = f"/sites/{site['id']}/branches"
    assert ok(api.get(path)) == {"names": [], "listed_at": None}
    for names in (["old"], ["a/Main-page", "dev", "main", 'x"><b>']):
        with db.transaction():
            branches.record(uuid.UUID(site["id"]), names)
    assert ok(api.get(path))["names"] == ["main", "a/Main-page", "dev", 'x"><b>']
    assert ok(api.get(f"{path}?contains=MAIN"))["names"] == ["main", "a/Main-page"]
    address = f"/branches?site_id={site['id']}"
    assert '<option value="dev">' in browser.part(f"{address}&branch=d").text
    assert "x&#34;&gt;&lt;b&gt;" in browser.part(f"{address}&target_branch=x").text
    assert sign_in(join("Eve")).part(address).status_code == 404


def test_hostile_text_breaks_no_page(browser, worker, make_site, make_runner):
    site = make_site(name=HOSTILE[0])
    for number, text in enumerate(HOSTILE):
        text = text.replace("\0", "")
        runner = make_runner(site=site, prompt=text, title=text[:500])
        claim = worker.claim(runner["latest_session_id"])
        worker.step(claim, text, text)
        name = json.dumps(text.encode("unicode_escape").decode())
        diff = f'diff --git "a/{name[1:]} "b/{name[1:]}\nnew file mode 100644\n--- /dev/null\n+++ "b/{name[1:]}\n@@ -0,0 +1 @@\n+{text.splitlines()[0]}\n'
        worker.finish(claim, diff=diff, result=text)
        others = ["/changes/0", "/revert", f"/sessions/{runner['latest_session_id']}"]
        # These are made of the same parts, so usually one of them has each text.
        for path in ("", "/changes", *(others if FULL else [others[number % 3]])):
            check(browser.page(link_of(runner, path)))
    check(browser.page("/"))
    check(browser.page("/sites"))


def check(page):
    """Only our own scripts, forms and attributes are in the page."""
    shown = Shown(page)
    assert not shown.tags & {"img", "style", "iframe", "object"} and page.count("</html>") == 1
    assert not [name for name, _ in shown.attributes if name.startswith("on")]
    nonces = {value for name, value in shown.attributes if name in ("nonce", "hx-nonce")}
    assert len(nonces) == 1 and page.count("<script src=") == page.count("<script")
    assert set(re.findall(r"/(\w[\w.-]*\.js)\"", page)) <= SCRIPTS
    # Without the nonce htmx takes no attribute.
    names = [name for name, _ in shown.attributes]
    assert names.count("hx-nonce") == sum(names.count(name) for name in ("hx-get", "hx-post", "hx-sse:connect"))
    assert "> 49 <" not in page


def test_the_budgets_of_the_account_are_above_its_runners(browser, api, make_site):
    for fields in (
        {"period": "month", "max_cost_usd": 200},
        {"period": "day", "max_tokens": 5, "site_id": make_site()["id"]},
    ):
        assert api.post("/budgets", fields).status_code == 201
    page = browser.page("/")
    assert (
        "The budget of the account for this month: 0 of 200 US dollars are used." in page and "of the site" not in page
    )


def test_the_checks_of_a_site_are_started_and_shown(browser, api, make_site):
    site = make_site(setup_command="npm ci")
    started = browser.post(f"/sites/{site['id']}/preflight")
    assert started.status_code == 303
    link = started.headers["Location"]
    page = browser.page(link)
    check(page)
    assert "no_worker" in page and "Checking" in page and 'hx-trigger="load delay:2s"' in page
    found = link.rpartition("/")[2].partition("#")[0]
    with db.transaction():
        hostile = {"name": "branch", "status": "failed", "code": "branch_not_found", "message": HOSTILE[0]}
        preflights.record(uuid.UUID(found), [hostile])
    part = browser.part(f"/sites/{site['id']}/preflight/{found}").text
    assert "branch_not_found" in part and "hx-get" not in part
    check(browser.page(link))
    assert browser.get(f"/sites/{site['id']}/preflight/{site['id']}").status_code == 404


def test_a_pull_request_is_written_ahead_and_edited(browser, api, worker, make_site, make_runner):
    site = make_site(pr_title_template="[agent] {{ title }}", pr_labels=["agent", "<b>"])
    runner = make_runner(site=site, title="Say <it>", prompt="Please.\n\nSay it.")
    worker.run(runner["latest_session_id"], patch_of("one"), result="Said to @eve.")
    form = browser.part(link_of(runner, "/pull-request")).text
    assert 'value="[agent] Say &lt;it&gt;"' in form and 'value="agent, &lt;b&gt;"' in form
    fields = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', form))
    fields["title"] = "[agent] Say <it>"
    fields["body"] = html.unescape(re.search(r"<textarea[^>]*>(.*)</textarea>", form, re.DOTALL)[1])
    assert "> Please.\n> \n> Say it." in fields["body"] and "Said to @\u200beve." in fields["body"]
    sent = {**fields, "body": fields["body"].replace("\n", "\r\n"), "labels": "agent, x", "draft": "on"}
    assert browser.post(link_of(runner, "/pull-request"), **sent).status_code == 303
    publication = find_publication(runner)
    assert (publication.title, publication.body, publication.draft) == (None, None, True), "the texts are as they were"
    assert publication.labels == ["agent", "x"]
    other = make_runner(site=site)
    worker.run(other["latest_session_id"], patch_of("one"))
    edited = {**sent, "title": "Mine", "body": "Mine, too."}
    assert browser.post(link_of(other, "/pull-request"), **edited).status_code == 303
    publication = find_publication(other)
    assert (publication.title, publication.body) == ("Mine", "Mine, too.")


def test_a_commit_is_written_ahead_and_edited(browser, make_runner, worker):
    def publish(**edited):
        runner = make_runner(title="Say <it>", prompt="Please.")
        worker.run(runner["latest_session_id"], patch_of("one"), result="Said to @eve.")
        form = browser.part(link_of(runner, "/commit")).text
        fields = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', form))
        texts = re.findall(r'<textarea name="(\w+)"[^>]*>(.*?)</textarea>', form, re.DOTALL)
        fields |= {name: html.unescape(text).replace("\n", "\r\n") for name, text in texts}
        assert fields["message"] == "Please.\r\n\r\nSaid to @\u200beve." and fields["squashed_message"] == "Say <it>"
        path = link_of(runner, "/commit")
        assert browser.post(path, target_branch="staging", **{**fields, **edited}).status_code == 303
        made = find_publication(runner)
        return made.body, made.squash

    assert publish() == (None, False), "the text is as it was"
    assert publish(squash="on") == (None, True)
    assert publish(message=" ") == (None, False)
    assert publish(message="Mine.\r\n\r\nWhy.", squashed_message="All.") == ("Mine.\n\nWhy.", False)
    assert publish(message="Mine.", squashed_message="All.", squash="on") == ("All.", True)


def find_publication(runner):
    with db.transaction(read_only=True):
        mine = Publication.agent_runner_id == uuid.UUID(runner["id"])
        return db.session.scalars(sa.select(Publication).where(mine)).one()


def test_tabs_say_how_many_runners_they_have(browser, make_site, make_runner, make_done_runner):
    site = make_site()
    make_runner(site=site), make_runner(site=site, title="Other"), make_done_runner(site=site)
    for path in ("/", "/?state=ERROR"):
        tabs = re.sub(r"<[^>]+>", "", browser.part(path).text.partition("</nav>")[0]).split()
        assert tabs == ["All", "In", "progress", "2", "Failed", "Done", "1", "Archived"], path
    assert ">Done</a>" in browser.page("/?q=other") and 'progress <span class="count num">1<' in browser.page(
        "/?q=other"
    )


def test_a_site_says_what_its_pull_requests_have(browser, api, make_site):
    site = make_site()
    fields = {
        "repo_url": site["repo_url"],
        "name": "shop",
        "pr_labels": "agent, <b>,",
        "pr_title_template": "[x] {{ title }}",
        "pr_status": "on",
    }
    assert browser.post(f"/sites/{site['id']}", **fields).status_code == 303
    saved = ok(api.get(f"/sites/{site['id']}"))
    assert (saved["pr_labels"], saved["pr_reviewers"], saved["pr_status"]) == (["agent", "<b>"], None, True)
    page = browser.page(f"/sites/{site['id']}")
    assert 'value="agent, &lt;b&gt;"' in page and 'value="[x] {{ title }}"' in page
    refused = browser.post(f"/sites/{site['id']}", **{**fields, "pr_branch_pattern": "x/{{ slug }}"})
    assert refused.status_code == 422 and 'value="x/{{ slug }}"' in refused.text
    browser.post(f"/sites/{site['id']}", repo_url=site["repo_url"], name="shop")
    saved = ok(api.get(f"/sites/{site['id']}"))
    assert (saved["pr_labels"], saved["pr_title_template"], saved["pr_status"]) == (None, None, False)
