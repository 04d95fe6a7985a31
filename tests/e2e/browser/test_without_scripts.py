"""The console in a browser that runs no scripts: all of it can be read."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from app.models.states import SessionState
from app.services.event_streams import MOST_AT_ONCE
from app.services.execution.outcomes import Failure
from tests.api.calling import created, patch_of, path_of
from tests.console.test_pages import SPACED
from tests.e2e.browser.chromium import follow
from tests.many_runners import copy_runner

# They share the web process and the browser of the other journeys.
pytestmark = [
    pytest.mark.xdist_group("console"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session"),
]


@pytest.fixture
def page(windows):
    return windows.open(java_script_enabled=False)


@pytest.fixture
def signed_in(page, sign_in_link):
    page.goto(sign_in_link())
    follow(page.get_by_role("button", name="Continue to the console"))
    return page


def assert_links_work(page: Page) -> None:
    """Each link to another page of the console leads to one, and each to a place in this page to something in it."""
    page.wait_for_load_state()
    targets = page.locator("a[href]:visible").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    places = set(page.locator("[id]").evaluate_all("elements => elements.map(element => element.id)"))
    for target in set(targets):
        if target.startswith("#"):
            assert target[1:] in places, f"{page.url}: {target}"
        elif not target.startswith("http"):
            answer = page.request.get(target)
            assert answer.ok, f"{page.url}: {target}: {answer.status}"


def test_people_sign_in_and_out(page, api, sign_in_link):
    page.goto("/sites")
    page.get_by_label("API token").fill(api.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sites")
    for item in ("Sign out", "Sign out everywhere"):
        page.get_by_label("Your session and preferences").click()
        page.get_by_role("button", name=item, exact=True).click()
        expect(page.get_by_label("API token")).to_be_visible()
        page.goto(sign_in_link())
        page.get_by_role("button", name="Continue to the console").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Runners")


def test_runners_are_found_by_filters_and_pages(signed_in, record, make_site, make_done_runner):
    page = signed_in
    shop, blog = make_site(name="Shop"), make_site(name="Blog")
    make_done_runner(site=blog, title="Write about it")
    copied = make_done_runner(site=shop, title="Sell it")
    # A quarter of the copies have failed.
    copy_runner(record, copied["id"], 204)
    page.goto("/")
    expect(page.get_by_role("region", name="Failed")).to_contain_text("Task number 1")
    assert_links_work(page)
    page.get_by_label("Site").select_option("Blog")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("navigation", name="States").get_by_role("link", name="Failed").click()
    shown = []
    for number in (1, 2):
        expect(page.get_by_text(f"Page {number} of 2")).to_be_visible()
        page.wait_for_load_state()
        shown += page.locator(".row-title").all_inner_texts()
        page.get_by_role("link", name="Next" if number == 1 else "Previous").click()
    assert len(set(shown)) == len(shown) == 51
    page.get_by_label("Search titles and prompts").fill("number 201")
    page.get_by_label("Search titles and prompts").press("Enter")
    page.get_by_role("link", name="Task number 201").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Task number 201")


def test_a_runner_is_read_with_its_steps(signed_in, api, worker, make_runner, follow_up):
    page = signed_in
    runner = make_runner(agent="claude", title="Mend it", prompt="Mend *it*.")
    claim = worker.claim(runner["latest_session_id"])
    worker.step(claim, "Looking around", "It is short.")
    worker.finish(claim, diff=patch_of("one"), result="All *done*.")
    second = created(api.post(path_of(runner, "/sessions"), {"prompt": "More."}))
    claim = worker.claim(second["id"])
    worker.steps(claim, [(f"Step {number}", "") for number in range(MOST_AT_ONCE + 1)])
    page.goto(f"/runners/{runner['id']}")
    expect(page.locator("#steps > li").first).to_contain_text("Step 0")
    expect(page.locator(".result em")).to_have_text("done")
    assert_links_work(page)
    shown = page.locator("#steps > li").count()
    page.get_by_role("link", name="More steps").click()
    expect(page.locator("#steps > li")).to_have_text([f"Step {number}" for number in range(shown, MOST_AT_ONCE + 1)])
    page.go_back()
    page.get_by_text("1 step in").click()
    page.get_by_role("link", name="Show the steps").click()
    page.get_by_text("Looking around").click()
    expect(page.locator("#steps .output")).to_contain_text("It is short.")


def test_a_diff_is_read_at_once_and_file_by_file(signed_in, make_done_runner):
    page = signed_in
    files = [patch_of(f"line of {number}{' ' * 400}", f"file-{number:03}.txt") for number in range(101)]
    runner = make_done_runner(SPACED + "".join(files))
    page.goto(f"/runners/{runner['id']}/changes")
    expect(page.locator(".file")).to_have_count(100)
    assert page.locator(".code").count() < 100
    page.get_by_role("link", name="Show all files").click()
    expect(page.locator("#f0-R4")).to_have_text(re.compile("Needle"))
    expect(page.locator(".code")).to_have_count(100)
    page.get_by_role("link", name="Split").click()
    expect(page.locator(".beside")).to_have_count(100)
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".code")).to_have_count(2)
    expect(page.locator(".file").last).to_contain_text("line of 100")
    assert_links_work(page)
    page.get_by_label("Search the changes").fill("needle")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="a.py:4").click()
    expect(page.locator("#f0-R4:target")).to_be_visible()
    page.get_by_role("link", name="Next file").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("file-000.txt 2 of 102")
    assert_links_work(page)
    follow(page.get_by_role("link", name="Changes", exact=True))
    page.get_by_role("link", name="Show this file").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("file-098.txt 100 of 102")


def test_sites_and_numbers_are_read(signed_in, worker, make_site, make_runner, make_done_runner):
    page = signed_in
    site = make_site(name="Shop")
    make_done_runner(site=site, agent="codex")
    failed = make_runner(site=site, agent="claude")
    claim = worker.claim(failed["latest_session_id"])
    failure = Failure("agent_failed", "agent", False, "It broke.")
    worker.finish(claim, SessionState.ERROR, failure=failure, usage={"cost_usd": 1.5})
    page.goto("/sites")
    assert_links_work(page)
    page.get_by_role("link", name="Shop").click()
    expect(page.get_by_label("Repository", exact=True)).to_have_value("https://github.com/example/shop.git")
    expect(page.get_by_text("Recent runners")).to_be_visible()
    assert_links_work(page)
    page.get_by_role("link", name="Automation").click()
    expect(page.get_by_text("Add a schedule")).to_be_visible()
    page.goto("/overview")
    page.get_by_text("Numbers by day").click()
    numbers = page.get_by_role("region", name="Sessions by day").get_by_role("row").last
    expect(numbers.get_by_role("cell")).to_have_text(["2", "50 %", "1", "0", "0s", "0s", "$1.50", ""])
    expect(page.get_by_role("region", name="Failures by code")).to_contain_text("agent_failed")
    assert_links_work(page)
