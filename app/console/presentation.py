"""Words and numbers for people: what templates use besides the rows."""

from __future__ import annotations

import datetime
import posixpath
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request
from markupsafe import Markup

from app.console import access, icons, rendering
from app.timestamps import format_moment

STATES = {
    "NEW": "Waiting",
    "RUNNING": "Running",
    "STOPPING": "Stopping",
    "ERROR": "Failed",
    "DONE": "Done",
    "CANCELLED": "Stopped",
    "ARCHIVED": "Archived",
    "AWAITING_INPUT": "Waiting for your answer",
}
STAGES = {
    "queued": "Waiting for a worker",
    "fetching": "Fetching the repository",
    "preparing": "Preparing the checkout",
    "setup": "Running the setup command",
    "agent": "The agent is working",
    "saving": "Saving the changes",
}
WAITING = {
    "queued": "Waiting for a free worker",
    "account_limit": "Waiting: your account runs as many sessions as it may",
    "site_limit": "Waiting: this site runs as many sessions as it may",
    "fetch": "Waiting: the repository did not answer lately, so one session at a time fetches it",
    "quota": "Waiting for the model",
    "no_worker": "Waiting: no worker is running. Start one with agent-runners worker sessions",
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def register(bp: Blueprint) -> None:
    for function in (
        ago,
        moment,
        elapsed,
        duration,
        money,
        count,
        bytes_,
        initials,
        short_path,
        folder,
        percent,
        waiting,
        with_query,
    ):
        bp.add_app_template_global(function, function.__name__)
    bp.add_app_template_global(icons.icon, "icon_of")
    bp.add_app_template_global(shlex.join, "shell_words")
    bp.add_app_template_global(access.csrf_token, "csrf_token")
    bp.add_app_template_filter(rendering.markdown, "markdown")
    bp.add_app_template_filter(rendering.ansi, "ansi")
    bp.add_app_template_filter(rendering.visible, "visible")
    bp.add_app_template_global(STATES.__getitem__, "state_name")
    bp.add_app_template_global(STAGES.__getitem__, "stage_name")


def duration(seconds: float) -> str:
    """Two units of a period, such as `2m 05s`."""
    whole = max(int(seconds), 0)
    for place, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            if place == len(_UNITS) - 1:
                return f"{whole}s"
            rest, small = _UNITS[place + 1]
            return f"{whole // size}{unit} {whole % size // rest:02d}{small}"
    return "0s"


def elapsed(since: datetime.datetime) -> str:
    """How long ago something began."""
    return duration((datetime.datetime.now(datetime.UTC) - since).total_seconds())


def moment(when: datetime.datetime) -> str:
    return format_moment(when)


def ago(when: datetime.datetime | None) -> Markup:
    """A time relative to now, which the page's script keeps right; the exact time is its title."""
    if when is None:
        return Markup("\u2013")
    seconds = (datetime.datetime.now(datetime.UTC) - when).total_seconds()
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, ""))
    shown = f"{int(seconds // size)}{unit} ago" if unit and unit != "s" else "just now"
    exact = when.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}" data-ago>{}</time>').format(moment(when), exact, shown)


def money(dollars: float | None) -> str:
    if dollars is None:
        return ""
    return f"${dollars:.2f}" if dollars >= 0.01 or dollars == 0 else "<$0.01"


def count(number: float | None) -> str:
    """A number of three digits, such as 1.2k."""
    if number is None:
        return "\u2013"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(int(number))


def bytes_(number: int) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} bytes"


def initials(name: str) -> str:
    words = name.split()
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper() or "?"


def short_path(path: str) -> str:
    return posixpath.basename(path.rstrip("/")) or path


def folder(path: str) -> str:
    found = posixpath.dirname(path)
    return f"{found}/" if found else ""


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "\u2013"


def waiting(found: Any) -> str:
    """Why a session has not started yet."""
    ahead = f", {found.position} ahead of it" if found.position else ""
    until = f", until {found.until:%Y-%m-%d %H:%M} UTC" if found.until else ""
    return f"{WAITING[found.reason.value]}{ahead}{until}"


def with_query(**changes: Any) -> str:
    """The address of this page with other parameters; None and empty ones are left out."""
    kept: Mapping[str, Any] = {**request.args.to_dict(), "page": None, **changes}
    query = urlencode({name: value for name, value in kept.items() if value not in (None, "")})
    return f"{request.path}?{query}" if query else request.path
