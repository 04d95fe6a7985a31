"""docs/settings.md lists exactly the settings there are. Write it anew: python -m tests.test_settings_page"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

from app.config import PREFIX, Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings

Every setting is a variable of the environment. What is not set has its default; a name that is not here, or a value of
the wrong kind, is refused at the start.

| variable | kind | default | meaning |
|---|---|---|---|
"""
KINDS = {str: "text", int: "whole number", float: "number", bool: "`1` or `0`", tuple[str, ...]: "list with commas"}


def page() -> str:
    hints = get_type_hints(Settings)
    return HEAD + "".join(
        f"| `{PREFIX}{field.name.upper()}` | {KINDS.get(hints[field.name], 'folder')} | {_shown(field.default)} | "
        f"{field.metadata['help']} |\n"
        for field in dataclasses.fields(Settings)
    )


def test_the_page_lists_exactly_the_settings_there_are() -> None:
    assert PAGE.read_text() == page(), "write it anew: python -m tests.test_settings_page"


def _shown(default: Any) -> str:
    if default in ("", None):
        return ""
    if isinstance(default, bool):
        return f"`{int(default)}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


if __name__ == "__main__":
    PAGE.write_text(page())
