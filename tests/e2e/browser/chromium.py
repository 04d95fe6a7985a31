"""Chromium without a window: its pages, what they say to its console, and whether people can use them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

# The first has no window, and needs half the time for each page.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
PROGRAM = next(filter(None, map(shutil.which, _NAMES)), None)
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
# What is found to be right is not described, which took most of the time.
_VIOLATIONS = {"resultTypes": ["violations"], "reporter": "no-passes"}
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}, **_VIOLATIONS}
# The rules whose answers depend on colours and sizes.
RULES_OF_LOOKS = {
    "runOnly": {
        "type": "rule",
        "values": ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"],
    },
    **_VIOLATIONS,
}
SCREEN, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
PATIENCE_MS = 100_000


def require_chromium() -> None:
    """Skip the test where there is no Chromium."""
    if PROGRAM is None:
        pytest.skip("NOT TESTED: there is no Chromium; install it with `apt-get install chromium-headless-shell`")


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    """Start it, for the tests of this folder: while it runs, the process can use no event loop of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=ARGUMENTS)
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        browser.close()


class Windows:
    """Windows of people who do not share cookies. Nothing may be refused or fail in their pages."""

    def __init__(self, chromium: Browser, url: str) -> None:
        self.url = url
        self._chromium = chromium
        self._contexts: list[Any] = []
        self._said: list[str] = []

    def open(self, **options: Any) -> Page:
        # A spinner that turns is drawn sixty times a second, by the processor.
        context = self._chromium.new_context(base_url=self.url, reduced_motion="reduce", **options)
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._said.append(str(error)))
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        assert self._said == []

    def _hear(self, message: ConsoleMessage) -> None:
        is_offline = any(text in message.text for text in ("ERR_INTERNET_DISCONNECTED", "Failed to fetch"))
        if message.type in ("error", "warning") and not is_offline:
            self._said.append(message.text)


def follow(link: Locator) -> None:
    """Click what leads to another page, and wait for the whole of it, with its scripts."""
    with link.page.expect_event("load"):
        link.click()


# The sum of what the browser calls layout shifts, so far.
_MOVED = """() => new Promise((done) => {
  let sum = 0;
  const observer = new PerformanceObserver((list) => { for (const each of list.getEntries()) sum += each.value; });
  observer.observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => setTimeout(() => done(sum)));
})"""


def assert_nothing_moved(page: Page) -> None:
    """What was shown of a page stayed where it was while the page was loaded."""
    page.wait_for_load_state()
    moved = page.evaluate(_MOVED)
    assert moved < 0.001, f"{page.url}: {moved}"


def assert_accessible(page: Page) -> None:
    """A page is accessible in light colours on a screen, and in dark ones on a phone, where nothing sticks out."""
    page.wait_for_load_state()
    # The second finds the script in the page, which takes long to read it.
    looks = ((Axe(), "light", SCREEN, RULES), (Axe(axe_script=""), "dark", PHONE, RULES_OF_LOOKS))
    for axe, scheme, size, rules in looks:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        found = axe.run(page, options=rules)
        assert found.violations_count == 0, f"{page.url} {scheme}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} {scheme}"
