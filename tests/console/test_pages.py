"""What the pages show, and what their forms do."""

from __future__ import annotations

import json
import re

import pytest

from app.models.states import SessionState
from app.services.execution.outcomes import Failure
from tests.api.calling import ok, patch_of, path_of
from tests.console.test_rendering import HOSTILE, Shown

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")


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
    assert "Broken" not in browser.part("/?title=queu").text
    assert "No runner matches" in browser.page(f"/?site_id={waiting['id']}")
    assert browser.get("/?site_id=x").status_code == 422 and browser.get("/?state=ERROR&page=0").status_code == 422


def test_pages_of_a_list_keep_their_filter(browser, make_site, make_runner, monkeypatch):
    monkeypatch.setattr("app.console.views.home.PER_PAGE", 2)
    site = make_site()
    for number in range(3):
        make_runner(site=site, title=f"Task {number}")
    first = browser.page("/?state=NEW&title=task")
    assert 'href="/?state=NEW&amp;title=task&amp;page=2"' in first and "Task 0" not in first
    assert "Task 0" in browser.page("/?state=NEW&title=task&page=2")


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
    assert "hello.txt" in changes and "one</td>" not in changes, "a file is read when it comes into view"
    assert "one</td>" in browser.part(link_of(runner, "/changes/0")).text
    assert browser.get(link_of(runner, "/changes/1")).status_code == 404
    assert browser.page(link_of(runner, "/changes.diff")) == patch_of("one")


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


def test_a_session_is_followed_up_stopped_and_tried_again(browser, api, worker, make_done_runner):
    runner = make_done_runner()
    assert browser.post(link_of(runner, "/follow-up"), prompt="More.").status_code == 303
    refused = browser.post(link_of(runner, "/follow-up"), prompt="And more.")
    assert refused.status_code == 409 and "note is-bad" in refused.text
    claim = worker.claim(ok(api.get(path_of(runner)))["latest_session_id"])
    assert browser.post(link_of(runner, "/stop")).status_code == 303
    assert "Stopping" in browser.page(link_of(runner))
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


def test_work_is_published(browser, api, make_done_runner):
    runner = make_done_runner()
    assert browser.post(link_of(runner, "/pull-request"), title="Ship it", draft="on").status_code == 303
    assert ok(api.get(path_of(runner)))["pr_is_being_created"] is True
    assert "Opening the pull request" in browser.page(link_of(runner))
    refused = browser.post(link_of(runner, "/commit"), target_branch="main")
    assert refused.status_code == 400 and "main is a protected branch" in refused.text
    browser.post(link_of(runner, "/commit"), target_branch="staging", squash="on")
    assert ok(api.get(path_of(runner)))["merge_commit_is_being_created"] is True


def test_a_runner_is_renamed_archived_and_unarchived(browser, api, make_done_runner):
    runner = make_done_runner()
    browser.post(link_of(runner, "/rename"), title="Better")
    browser.post(link_of(runner, "/archive"))
    shown = ok(api.get(path_of(runner)))
    assert (shown["title"], shown["state"]) == ("Better", "ARCHIVED")
    assert "This runner is archived" in browser.page(link_of(runner))
    browser.post(link_of(runner, "/unarchive"))
    assert ok(api.get(path_of(runner)))["state"] == "DONE"


def test_a_site_is_created_changed_and_deleted(browser, api):
    fields = {
        "repo_url": "https://github.com/example/shop.git",
        "egress_hosts": "pypi.org\r\n\r\nnpmjs.org",
        "access_token": "secret",
    }
    assert browser.post("/sites", **fields).status_code == 303
    site = ok(api.get("/sites"))[0]
    assert (site["name"], site["egress_hosts"], site["has_access_token"]) == ("shop", ["pypi.org", "npmjs.org"], True)
    page = browser.page(f"/sites/{site['id']}")
    assert "pypi.org\nnpmjs.org" in page and "secret" not in page
    kept = {
        "repo_url": site["repo_url"],
        "name": "Shop",
        "forge": "github",
        "egress_hosts": "pypi.org",
        "max_cost_usd": "1.5",
    }
    assert browser.post(f"/sites/{site['id']}", **kept).status_code == 303
    site = ok(api.get(f"/sites/{site['id']}"))
    assert (site["name"], site["egress_hosts"], site["max_cost_usd"]) == ("Shop", ["pypi.org"], 1.5)
    assert site["has_access_token"] is True
    refused = browser.post(f"/sites/{site['id']}", repo_url="ext::sh -c x")
    assert refused.status_code == 422 and "ext::sh -c x" in refused.text
    browser.post(f"/sites/{site['id']}/delete")
    assert ok(api.get("/sites")) == []


def test_hostile_text_breaks_no_page(browser, worker, make_site, make_runner):
    site = make_site(name=HOSTILE[0])
    for text in HOSTILE:
        text = text.replace("\0", "")
        runner = make_runner(site=site, prompt=text, title=text[:500])
        claim = worker.claim(runner["latest_session_id"])
        worker.step(claim, text, text)
        name = json.dumps(text.encode("unicode_escape").decode())
        diff = f'diff --git "a/{name[1:]} "b/{name[1:]}\nnew file mode 100644\n--- /dev/null\n+++ "b/{name[1:]}\n@@ -0,0 +1 @@\n+{text.splitlines()[0]}\n'
        worker.finish(claim, diff=diff, result=text)
        for path in ("", "/changes", "/changes/0", "/revert", f"/sessions/{runner['latest_session_id']}"):
            check(browser.page(link_of(runner, path)))
    check(browser.page("/"))
    check(browser.page("/sites"))


def check(page):
    """Only our own scripts, forms and attributes are in the page."""
    shown = Shown(page)
    assert not shown.tags & {"img", "style", "iframe", "object"} and page.count("</html>") == 1
    assert not [name for name, _ in shown.attributes if name.startswith("on")]
    nonces = {value for name, value in shown.attributes if name in ("nonce", "hx-nonce")}
    assert len(nonces) == 1 and page.count("<script src=") == page.count("<script") == 4
    # Without the nonce htmx takes no attribute.
    names = [name for name, _ in shown.attributes]
    assert names.count("hx-nonce") == names.count("hx-get") + names.count("hx-sse:connect")
    assert "> 49 <" not in page
