"""The console in a browser: what scripts add, and whether people with a keyboard or a screen reader can use it."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import expect

from app import db
from app.services.sites import branches
from tests.api.calling import created, ok, patch_of, path_of
from tests.e2e.browser.chromium import PHONE, SCREEN, assert_accessible, assert_nothing_moved, follow
from tests.e2e.browser.keyboard import Keyboard

# They share a web process and a browser.
pytestmark = [
    pytest.mark.xdist_group("console"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session"),
]


def test_work_is_watched_reviewed_and_continued(open_console, api, worker):
    page = open_console(color_scheme="dark")
    follow(page.get_by_role("link", name="Add a site"))
    page.get_by_label("Repository", exact=True).fill("https://github.com/example/shop.git")
    page.get_by_label("Default branch").fill("main")
    follow(page.get_by_role("button", name="Add the site"))
    page.get_by_label("Prompt").fill("Say **hello**.")
    page.get_by_text("Preview").click()
    expect(page.locator("#preview strong")).to_have_text("hello")
    page.reload()
    expect(page.get_by_label("Prompt")).to_have_value("Say **hello**.")
    page.locator("#picker").set_input_files([{"name": "sketch.png", "mimeType": "image/png", "buffer": b"png"}])
    expect(page.locator(".uploads li")).to_contain_text("sketch.png")
    expect(page.locator("[name=file_keys]")).to_have_count(1)
    page.get_by_label("Prompt").press("Control+Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Say **hello**.")
    expect(page.locator(".prompt-body")).to_contain_text("sketch.png")
    watching = page.url

    runner = ok(api.get("/agent_runners"))[0]
    claim = worker.claim(runner["latest_session_id"])
    expect(page.locator("#runner-head .badge")).to_have_text("Running")
    worker.step(claim, "Looking around")
    expect(page.locator("#steps")).to_contain_text("Looking around")
    page.context.set_offline(True)
    worker.step(claim, "Said while nobody listened")
    page.context.set_offline(False)
    expect(page.locator("#steps")).to_contain_text("Said while nobody listened")
    # No step is shown twice.
    expect(page.locator("#steps > li")).to_have_count(2)
    worker.finish(claim, diff=patch_of("one"), result="I *said* it.")
    expect(page.locator(".result em")).to_have_text("said")
    assert page.url == watching

    follow(page.get_by_role("link", name="Changes", exact=True))
    page.locator("#f0-R1 .ln").last.click()
    page.keyboard.type("Say *two*.")
    page.keyboard.press("Control+Enter")
    page.reload()
    expect(page.locator(".comment-row .pre")).to_have_text("Say *two*.")
    page.get_by_role("button", name="Comment on hello.txt").click()
    page.get_by_label("Comment", exact=True).fill("And test it.")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator("[data-count]")).to_have_text("2 comments")
    page.get_by_role("button", name="Send to the agent").click()
    expect(page.locator(".prompt-text").last).to_contain_text("+one")
    expect(page.locator(".prompt-text").last).to_contain_text("And test it.")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".outcome").last).to_contain_text("Stopped")
    follow(page.get_by_role("link", name="Changes", exact=True))
    expect(page.locator("#f0-R1")).to_be_visible()
    expect(page.locator(".comment")).to_have_count(0)
    # Leaving a page ends the requests that are in progress.
    with page.expect_response("**/viewed"):
        page.get_by_label("Viewed").check()
    expect(page.locator("#f0-R1")).to_be_hidden()
    page.reload()
    expect(page.get_by_label("Viewed")).to_be_checked()
    page.get_by_label("Viewed").uncheck()
    page.locator("#f0-R1").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Comment", exact=True)).to_be_focused()

    page.goto(watching)
    page.keyboard.press("r")
    page.keyboard.type("Again.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".session")).to_have_count(3)


# A browser lets no script put files on its clipboard, so what it would send is made here.
GIVE = """([selector, kind, name]) => {
  const data = new DataTransfer();
  data.items.add(new File(["text"], name));
  const target = document.querySelector(selector);
  target.dispatchEvent(kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_files_are_dropped_and_pasted_and_lines_are_tapped(open_console, api, make_done_runner):
    runner = make_done_runner(patch_of("one") + patch_of("{}", "yarn.lock"), agent="claude")
    with db.transaction():
        branches.record(uuid.UUID(runner["site_id"]), ["main", "release/2.1"])
    page = open_console(viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto(f"/runners/new?site_id={runner['site_id']}")
    page.get_by_label("Branch").fill("rel")
    expect(page.locator("#branches option:not([value=main])")).to_have_count(1)
    expect(page.locator("#branches option")).to_have_count(1)
    page.goto(f"/runners/{runner['id']}")
    page.evaluate(GIVE, ["#prompt", "paste", "pasted.png"])
    page.evaluate(GIVE, ["#end form", "drop", "dropped.txt"])
    expect(page.locator(".uploads [name=file_keys]")).to_have_count(2)
    page.get_by_label("Remove pasted.png").tap()
    page.get_by_label("Follow-up").fill("Use it.")
    # What an event changes in the page leaves the files where they are.
    ok(api.patch(path_of(runner), {"title": "Another title"}))
    page.evaluate("document.querySelector('#stream').dispatchEvent(new Event('usage'))")
    expect(page.get_by_role("heading", level=1)).to_have_text("Another title")
    page.get_by_role("button", name="Send").tap()
    expect(page.locator(".session").last).to_contain_text("dropped.txt")
    assert len(ok(api.get(path_of(runner)))["attached_file_keys"]) == 1
    page.goto(f"/runners/{runner['id']}/changes#f1-R1")
    expect(page.locator("#f1-R1")).to_be_visible()
    page.locator("#f1-R1 .ln").last.tap()
    page.get_by_label("Comment", exact=True).fill("Why?")
    page.get_by_role("button", name="Add comment").tap()
    expect(page.locator("[data-count]")).to_have_text("1 comment")


def test_lists_follow_what_happens_and_the_keyboard(open_console, make_site, make_runner, worker):
    site = make_site()
    first = make_runner(site=site, title="First")
    page = open_console()
    expect(page.locator(".row")).to_have_count(1)
    make_runner(site=site, title="Second")
    expect(page.locator(".row")).to_have_count(2)
    worker.claim(first["latest_session_id"])
    expect(page.locator(f"#runner-{first['id']} .is-running")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("First")
    follow(page.get_by_role("link", name="Runners", exact=True).first)
    expect(page.locator(".row")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("sec")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=sec*")
    expect(page.locator(".row")).to_have_count(1)


def test_an_agent_asks_and_work_goes_on(open_console, api, make_runner, worker):
    runner = make_runner(agent="claude", title="Curious")
    page = open_console()
    page.goto(f"/runners/{runner['id']}")
    questions = [{"question": "Which sign?", "choices": ["plus", "minus"]}, {"question": "Its name?", "choices": []}]
    worker.run(runner["latest_session_id"], patch_of("one"), result="I cannot know.", questions=questions)
    page.get_by_label("minus").check()
    page.get_by_label("Your answer", exact=True).fill("sum")
    page.get_by_text("Open a pull request").click()
    expect(page.get_by_label("Description")).to_have_value("> Say hello.\n\nI cannot know.")
    page.get_by_label("Description").fill("Mine")
    page.get_by_text("Commit to a branch").click()
    expect(page.get_by_label("Message of the last commit")).to_have_value("Say hello.\n\nI cannot know.")
    page.get_by_label("One commit for all sessions").check()
    expect(page.get_by_label("Message of the last commit")).to_be_hidden()
    expect(page.locator("[name=squashed_message]")).to_have_value("Curious")
    page.locator("[name=squashed_message]").fill("All of it")
    # What an event changes in the page leaves what was written where it is.
    ok(api.patch(path_of(runner), {"title": "Another title"}))
    page.evaluate("document.querySelector('#stream').dispatchEvent(new Event('usage'))")
    expect(page.get_by_role("heading", level=1)).to_have_text("Another title")
    expect(page.locator("[name=squashed_message]")).to_have_value("All of it")
    # What was unfolded stays so, and who is writing goes on.
    expect(page.locator("[name=squashed_message]")).to_be_focused()
    expect(page.locator("[name=squashed_message]")).to_be_visible()
    expect(page.get_by_label("Description")).to_be_visible()
    expect(page.get_by_label("minus")).to_be_checked()
    expect(page.get_by_label("Your answer", exact=True)).to_have_value("sum")
    expect(page.get_by_label("Description")).to_have_value("Mine")
    assert_accessible(page)
    page.get_by_role("button", name="Answer").click()
    expect(page.locator(".session").last).to_contain_text("minus")
    worker.claim(ok(api.get(path_of(runner)))["latest_session_id"])
    expect(page.locator("#runner-head .badge")).to_have_text("Running")


def test_pages_are_accessible(open_console, server, api, worker, make_site, make_runner):
    site = make_site()
    runner = make_runner(site=site, agent="claude")
    claim = worker.claim(runner["latest_session_id"])
    worker.step(claim, "Reading", "Reading\n\n- one\n- two")
    worker.finish(claim, result="# Done\n\n`code` and a [link](https://example.org)")
    ok(api.patch(path_of(runner), {"result_diff": patch_of("one", "app/views.py")}))
    waiting = make_runner(site=site, title="Waiting")
    created(api.post(f"/sites/{site['id']}/schedules", {"cron": "0 9 * * *", "prompt": "Update."}))
    created(api.post("/budgets", {"period": "day", "max_cost_usd": 5}))
    created(api.post(f"/sites/{site['id']}/forge_webhook"))
    ok(api.patch(f"/sites/{site['id']}", {"mcp_servers": [{"name": "linear", "url": "https://mcp.example.org/mcp"}]}))
    webhook = created(api.post("/webhooks", {"url": "https://hooks.example.org/x"}))
    compare = f"/compare?runner={runner['id']}&runner={waiting['id']}"
    page = open_console(color_scheme="light")
    own = f"/runners/{runner['id']}"
    for path in (
        "/",
        own,
        f"{own}/changes",
        f"{own}/revert",
        "/runners/new",
        compare,
        "/sites",
        f"/sites/{site['id']}",
        f"/sites/{site['id']}/automation",
        "/account",
        f"/account/webhooks/{webhook['id']}",
        "/overview",
    ):
        page.goto(path)
        assert_nothing_moved(page)
        page.evaluate("for (const fold of document.querySelectorAll('details.fold')) fold.open = true")
        # A comment and what it is sent with are a part of the page.
        if path.endswith("/changes"):
            page.locator("#f0-R1 .ln").last.click()
            page.get_by_label("Comment", exact=True).fill("Why?")
            page.get_by_role("button", name="Add comment").click()
            page.locator("#f0-R1 .ln").last.click()
        assert_accessible(page)
        page.set_viewport_size(SCREEN)
        Keyboard(page).walk()
    page.get_by_label("Your session and preferences").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url(f"{server}/sign-in")
    assert_accessible(page)
