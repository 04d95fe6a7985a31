"""A person who has a keyboard and no mouse."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

MOST_STOPS = 300
"""More than any page has, so that a person who gets no further is noticed."""
# What has the focus: its name as a person would call it, whether it had it before, and why its focus cannot be seen.
_FOCUSED = """() => {
  const focused = document.activeElement;
  if (!focused || focused === document.body) return null;
  const text = (element) => element.innerText || element.textContent;
  const name = focused.getAttribute("aria-label") || [...(focused.labels ?? [])].map(text).join(" ") || text(focused);
  const around = [];
  for (let each = focused; each !== document.documentElement; each = each.parentElement) around.push(each);
  const isOutlined = (element) => {
    const style = getComputedStyle(element);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  };
  const shown = [...(focused.labels ?? []), ...around].find(isOutlined);
  const isVisited = focused.hasAttribute("data-visited");
  focused.setAttribute("data-visited", "");
  const answer = { isVisited, name: name.trim().replace(/\\s+/g, " "), html: focused.outerHTML.slice(0, 200), fault: null };
  if (!shown) return { ...answer, fault: "has no outline" };
  const style = getComputedStyle(shown), box = shown.getBoundingClientRect();
  const reach = parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth) - 0.5;
  const edges = { left: box.left - reach, right: box.right + reach, top: box.top - reach, bottom: box.bottom + reach };
  for (let each = shown.parentElement; each !== document.documentElement; each = each.parentElement) {
    if (getComputedStyle(each).overflow === "visible") continue;
    const clip = each.getBoundingClientRect();
    // What is larger than what it scrolls in is never seen as a whole.
    if (edges.right - edges.left <= clip.width && (edges.left < clip.left || edges.right > clip.right)) return { ...answer, fault: "has an outline that is cut at its sides" };
    if (edges.bottom - edges.top <= clip.height && (edges.top < clip.top || edges.bottom > clip.bottom)) return { ...answer, fault: "has an outline that is cut above or below" };
  }
  const seen = { left: Math.max(box.left, 0), right: Math.min(box.right, innerWidth), top: Math.max(box.top, 0), bottom: Math.min(box.bottom, innerHeight) };
  if (seen.right <= seen.left || seen.bottom <= seen.top) return { ...answer, fault: "is outside of the window" };
  const places = [0.1, 0.5, 0.9].flatMap((x) => [0.1, 0.5, 0.9].map((y) => [seen.left + x * (seen.right - seen.left), seen.top + y * (seen.bottom - seen.top)]));
  const isBare = ([x, y]) => { const top = document.elementFromPoint(x, y); return top && (shown.contains(top) || top.contains(shown)); };
  return places.some(isBare) ? answer : { ...answer, fault: "is covered" };
}"""
# What Tab should come to: of the radio buttons of a group one.
_STOPS = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")].filter((each) =>
  each.checkVisibility({ visibilityProperty: true }) && !each.disabled && each.tabIndex >= 0 && each.type !== "hidden"
  && !(each.type === "radio" && [...each.form.elements[each.name]][0] !== each) && !each.matches("[data-visited]"))
  .map((each) => each.outerHTML.slice(0, 200))"""


class Keyboard:
    """Moves through a page by keys alone. It fails where the focus cannot be seen."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, *keys: str) -> None:
        # Before a page is loaded, its scripts do not listen, and Tab ends where it does so far.
        self._page.wait_for_load_state()
        for key in keys:
            self._page.keyboard.press(key)

    def type(self, text: str) -> None:
        self._page.keyboard.type(text)

    def focused(self) -> str:
        """The name of what has the focus; empty if nothing has it."""
        found = self._look()
        return str(found["name"]) if found else ""

    def reach(self, name: str, by: str = "Tab") -> None:
        """Press a key until the focus is on what has a name that begins so."""
        passed = []
        for _ in range(MOST_STOPS):
            self.press(by)
            passed.append(self.focused())
            if passed[-1].startswith(name):
                return
        raise AssertionError(f"{self._page.url}: {by} does not lead to {name!r}, only to {sorted(set(passed))}")

    def go(self, name: str, by: str = "Tab") -> None:
        """Go to what has a name that begins so, and press Enter."""
        self.reach(name, by)
        self.press("Enter")

    def choose(self, option: str) -> None:
        """Choose an option where the focus is on a list of them."""
        chosen = "document.activeElement.selectedOptions[0].text"
        self.press("Home")
        for _ in range(MOST_STOPS):
            if self._page.evaluate(chosen) == option:
                return
            self.press("ArrowDown")
        raise AssertionError(f"{self._page.url}: there is no {option!r} in {self.focused()!r}")

    def walk(self) -> None:
        """Go through the whole page and around. Tab must come to all that can be used, and nowhere stay."""
        page = self._page
        page.wait_for_load_state()
        for _ in range(MOST_STOPS):
            page.keyboard.press("Tab")
            # From the last place Tab leads out of the page, and then to the first one.
            if (found := self._look()) and found["isVisited"]:
                break
        left = page.evaluate(_STOPS)
        assert left == [], f"{page.url}: Tab does not lead to {left}"

    def _look(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._page.evaluate(_FOCUSED)
        assert not found or found["fault"] is None, (
            f"{self._page.url}: {found['name']!r} {found['fault']}: {found['html']}"
        )
        return found
