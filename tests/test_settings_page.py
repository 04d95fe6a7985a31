"""docs/settings.md lists exactly the settings there are. To regenerate it: python -m tests.test_settings_page"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

from app.config import PREFIX, Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings

Settings are environment variables. Unset ones have their default. An unknown name below `AGENT_RUNNERS_`, or an invalid
value, stops the process at its start with a message that names the variable. In the texts below, other settings are named
without the prefix. Times are in seconds, sizes in bytes. A list is comma-separated.

The keys of models are not settings: see [agents.md](agents.md#set-up-agents). The credentials for S3 are those
that boto3 finds, such as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
"""
TABLE = """
## {heading}

| variable | type | default | meaning |
|---|---|---|---|
"""
SECTIONS = {
    "data_dir": "Database, broker and storage",
    "public_url": "API",
    "agents": "Agents and sandbox",
    "allow_ssh": "Repositories and network access",
    "lease_seconds": "Leases and the sweep",
    "max_duration_seconds": "Limits of a session",
    "smtp_url": "E-mail",
    "session_workers": "Processes and logs",
}
"""The first setting of each section."""
KINDS = {str: "text", int: "integer", float: "number", bool: "`1` or `0`", tuple[str, ...]: "list"}


def page() -> str:
    hints = get_type_hints(Settings)
    fields = dataclasses.fields(Settings)
    assert SECTIONS.keys() <= {field.name for field in fields}
    return HEAD + "".join(
        f"{TABLE.format(heading=SECTIONS[field.name]) if field.name in SECTIONS else ''}"
        f"| `{PREFIX}{field.name.upper()}` | {KINDS.get(hints[field.name], 'path')} | {_shown(field.default)} | "
        f"{field.metadata['help']} |\n"
        for field in fields
    )


def test_the_page_lists_exactly_the_settings_there_are() -> None:
    assert PAGE.read_text() == page(), "regenerate it: python -m tests.test_settings_page"


def _shown(default: Any) -> str:
    if default in ("", (), None):
        return ""
    if isinstance(default, bool):
        return f"`{int(default)}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


if __name__ == "__main__":
    PAGE.write_text(page())
