"""Every file, folder, link, heading and setting that the documentation names exists."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.main import SECTIONS
from app.config import CLIENT_VARIABLES, PREFIX, Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
OURS = "app|bench|bin|docs|migrations|tasks|tests|workers"
PATH = re.compile(rf"`((?:{OURS})/[\w./-]*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """The page without its blocks of code, which may name files of other machines."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> Iterator[str]:
    """The anchors of the page's headings, as GitHub makes them."""
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_a_page_names_exist(page: Path) -> None:
    named = set(PATH.findall(prose(page)))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if re.match(r"https?:", link):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_that_a_page_names_exist(page: Path) -> None:
    settings = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)} | {*CLIENT_VARIABLES}
    assert set(re.findall(rf"\b{PREFIX}[A-Z]\w*", page.read_text())) - settings == set()


def test_the_page_of_the_command_line_has_every_command_of_callers() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert [name for name in SECTIONS["Work with agents"] if not re.search(rf"`{name}\b", page)] == []
