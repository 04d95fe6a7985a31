"""The console in a browser: what scripts add, and whether people with a keyboard or a screen reader can use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from app.artifacts import LocalStore
from tests.api.calling import created, ok, patch_of, path_of
from tests.deployment import Deployment, free_port, wait_for

# They share a web process and a browser.
pytestmark = [
    pytest.mark.xdist_group("console"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session"),
]
CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that the tests and the web process share."""
    folder = tmp_path_factory.mktemp("artifacts")
    LocalStore(folder, "http://testserver").set_up()
    return folder


@pytest.fixture(scope="session")
def server(database_url: str, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a web process on the tests' database."""
    if CHROMIUM is None:
        pytest.skip("NOT TESTED: there is no Chromium; install it with `apt-get install chromium`")
    nowhere = "redis+socket:///nonexistent/broker.sock?virtual_host=0"
    folder = tmp_path_factory.mktemp("console")
    shared = {"BROKER_URL": nowhere, "ARTIFACTS_DIR": str(artifacts)}
    deployment = Deployment(folder, database_url, free_port(), **shared)
    (folder / "tmp").mkdir()
    try:
        deployment.start("web", "web")
        wait_for("the console", lambda: httpx.get(f"{deployment.url}/readyz").status_code == 200)
        yield deployment.url
    finally:
        deployment.stop_all()


@pytest.fixture(scope="session")
def chromium(server: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_console(server: str, artifacts: Path, chromium: Browser, api, configure) -> Iterator[Callable[..., Page]]:
    """Open a console that is signed in. Nothing may be refused or fail in its pages."""
    configure(ARTIFACTS_DIR=str(artifacts))
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "ERR_INTERNET_DISCONNECTED" not in message.text:
            said.append(message.text)

    contexts = []

    def begin(**options) -> Page:
        context = chromium.new_context(base_url=server, **options)
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: said.append(str(error)))
        link = created(api.post("/console_links"))["url"]
        page.goto(link.replace("http://testserver", ""))
        page.wait_for_url(f"{server}/")
        return page

    yield begin
    for context in contexts:
        context.close()
    assert said == []


def test_work_is_watched_reviewed_and_continued(open_console, api, worker):
    page = open_console(color_scheme="dark")
    page.get_by_role("link", name="Add a site").click()
    page.get_by_label("Repository", exact=True).fill("https://github.com/example/shop.git")
    page.get_by_label("Default branch").fill("main")
    page.get_by_role("button", name="Add the site").click()
    page.get_by_label("Prompt").fill("Say **hello**.")
    page.get_by_text("Preview").click()
    expect(page.locator("#preview strong")).to_have_text("hello")
    page.reload()
    expect(page.get_by_label("Prompt")).to_have_value("Say **hello**.")
    page.get_by_label("Prompt").press("Control+Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Say **hello**.")
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
    assert page.locator("#steps > li").count() == 2, "no step is shown twice"
    worker.finish(claim, result="I *said* it.")
    expect(page.locator(".result em")).to_have_text("said")
    assert page.url == watching

    page.keyboard.press("r")
    page.keyboard.type("Again.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".session")).to_have_count(2)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".outcome").last).to_contain_text("Stopped")


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
    page.get_by_role("link", name="Runners", exact=True).first.click()
    expect(page.locator(".row")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("sec")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?title=sec*")
    expect(page.locator(".row")).to_have_count(1)


@pytest.mark.parametrize(("scheme", "size"), [("light", None), ("dark", PHONE)])
def test_pages_are_accessible(open_console, server, api, worker, make_site, make_runner, scheme, size):
    site = make_site()
    runner = make_runner(site=site, agent="claude")
    claim = worker.claim(runner["latest_session_id"])
    worker.step(claim, "Reading", "Reading\n\n- one\n- two")
    worker.finish(claim, result="# Done\n\n`code` and a [link](https://example.org)")
    ok(api.patch(path_of(runner), {"result_diff": patch_of("one", "app/views.py")}))
    make_runner(site=site, title="Waiting")
    page = open_console(color_scheme=scheme, **({"viewport": size} if size else {}))
    own = f"/runners/{runner['id']}"
    for path in ("/", own, f"{own}/changes", f"{own}/revert", "/runners/new", "/sites", f"/sites/{site['id']}"):
        page.goto(path)
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        # Nothing sticks out of the page to the right.
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.get_by_label("Your session and preferences").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url(f"{server}/sign-in")
    assert Axe().run(page, options=RULES).violations_count == 0
