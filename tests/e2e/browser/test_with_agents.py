"""People at work in the console, in a browser, with real processes behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.demo.forge import DemoForge
from tests.deployment import Deployment
from tests.e2e.browser.chromium import Windows, assert_accessible
from tests.e2e.browser.keyboard import Keyboard
from tests.e2e.conftest import DATABASES, OBLIGING
from tests.e2e.test_tour import site_on

pytestmark = pytest.mark.parametrize("deployment", DATABASES[:1], indirect=True, scope="session")


@pytest.fixture
def page(deployment: Deployment, chromium: Browser) -> Iterator[Page]:
    windows = Windows(chromium, deployment.url)
    yield windows.open()
    windows.close()


def link_of(deployment: Deployment) -> str:
    """An address that signs in once."""
    return str(deployment.call("POST", "/console_links")["url"])


def runner_at(page: Page, deployment: Deployment) -> dict[str, Any]:
    """The runner whose page is shown."""
    found: dict[str, Any] = deployment.call("GET", f"/agent_runners/{page.url.split('/runners/')[1][:36]}")
    return found


def test_a_day_is_worked_by_the_keyboard_alone(deployment: Deployment, forge: DemoForge, page: Page) -> None:
    site, repository = site_on(deployment, forge, "keyboard")
    older = deployment.run(site, "echo older", title="Keyboard: older")
    deployment.ended(older)
    keyboard = Keyboard(page)
    badge, sessions = page.locator("#runner-head .badge"), page.locator(".session")

    page.goto(link_of(deployment))
    page.wait_for_url(f"{deployment.url}/")

    keyboard.press("?")
    assert keyboard.focused() == "Close"
    keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()

    keyboard.press("c")
    page.wait_for_url("**/runners/new")
    assert keyboard.focused() == "Prompt"
    keyboard.type("Add the greeting.\nhello world")
    keyboard.reach("Site", by="Shift+Tab")
    keyboard.choose(site["name"])
    keyboard.reach("Agent")
    keyboard.choose(OBLIGING)
    keyboard.reach("Model, limits and title")
    keyboard.press("Enter")
    keyboard.reach("Title")
    keyboard.type("Keyboard: greeting")
    keyboard.go("Start")
    expect(page.get_by_role("heading", level=1)).to_have_text("Keyboard: greeting")
    expect(badge).to_have_text("Done")

    keyboard.press("r")
    keyboard.type("Add another one.\ngood morning")
    keyboard.go("Send")
    expect(sessions).to_have_count(2)
    expect(sessions.last).to_contain_text("Done in")

    keyboard.go("Runners", by="Shift+Tab")
    page.wait_for_url(f"{deployment.url}/")
    keyboard.press("/")
    keyboard.type("keyboard:")
    keyboard.press("Enter")
    page.wait_for_url("**/?q=*")
    # What was not looked at comes first.
    for key, title in (("j", "older"), ("j", "greeting"), ("j", "greeting"), ("k", "older"), ("j", "greeting")):
        keyboard.press(key)
        assert keyboard.focused() == f"Keyboard: {title}"
    keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Keyboard: greeting")

    keyboard.go("Changes")
    expect(page.locator("#f0-R2")).to_be_visible()
    keyboard.press("j")
    assert keyboard.focused().startswith("notes.txt")
    keyboard.reach("added: hello world")
    keyboard.press("ArrowDown", "Enter")
    assert keyboard.focused() == "Comment"
    keyboard.type("good evening")
    keyboard.go("Add comment")
    expect(page.locator("[data-count]")).to_have_text("1 comment")
    assert keyboard.focused() == "added: good morning"
    keyboard.go("Send to the agent")
    expect(sessions).to_have_count(3)
    expect(sessions.last).to_contain_text("I wrote down: good evening")
    expect(badge).to_have_text("Done")

    keyboard.go("Revert to here", by="Shift+Tab")
    expect(page.get_by_role("heading", name="What changes")).to_be_visible()
    keyboard.go("Revert")
    expect(page.locator(".discarded")).to_have_count(1)
    keyboard.go("Open a pull request")
    expect(page.get_by_label("Title", exact=True).first).to_have_value("Keyboard: greeting")
    keyboard.reach("Title")
    keyboard.type("Greet, by the keyboard")
    keyboard.go("Open the pull request")
    expect(page.get_by_role("link", name="Open the pull request")).to_be_visible()
    [pull] = forge.pulls(repository.full_name)
    assert pull["title"] == "Greet, by the keyboard"
    shown = deployment.call("GET", f"/agent_runners/{runner_at(page, deployment)['id']}/diff")
    assert "+good morning" in shown and "+good evening" not in shown

    keyboard.go("Your session and preferences", by="Shift+Tab")
    keyboard.go("Sign out")
    page.wait_for_url(f"{deployment.url}/sign-in")
    assert keyboard.focused().startswith("API token")


def test_a_person_answers_what_the_agent_asks(deployment: Deployment, page: Page) -> None:
    site = deployment.make_site(deployment.make_repository({"calc.py": "a - b\n"}, "asks"), name="asks")
    runner = deployment.run(site, "Mend the sum.\nPlus or minus?", agent=OBLIGING, title="Mend the sum")
    page.goto(link_of(deployment))
    page.wait_for_url(f"{deployment.url}/")
    waiting = page.get_by_role("region", name="Waiting for your answer")
    waiting.get_by_role("link", name="Mend the sum").click()
    expect(page.locator("#runner-head .badge")).to_have_text("Waiting for your answer")
    assert deployment.call("GET", f"/agent_runners/{runner['id']}")["awaiting_input"] is True
    question = page.get_by_role("group", name="Plus or minus?")
    expect(question.get_by_role("radio")).to_have_count(2)
    assert_accessible(page)

    question.get_by_label("minus").check()
    page.get_by_role("button", name="Answer").click()
    expect(page.locator(".session")).to_have_count(2)
    expect(page.locator(".session").last).to_contain_text("I wrote down: Answer: minus")
    expect(page.locator("#runner-head .badge")).to_have_text("Done")
    ended = deployment.ended(runner)
    assert (ended["state"], ended["failure"]) == ("DONE", None)
    assert "+Answer: minus" in deployment.diff(runner, ended, "cumulative")
    assert deployment.call("GET", f"/agent_runners/{runner['id']}")["awaiting_input"] is False
