"""`agent-runners doctor`: each part of this deployment, as working, missing, failing or off, with the remedy."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.config import settings
from app.models.limits import SessionLimits
from app.setting_values import SettingsError
from tasks.doctor import machine, messages, record, stuck
from tasks.doctor.finding import Finding, broken
from tasks.session_jobs import limits_of, this_host
from workers.agents import find_missing
from workers.sandbox.layers import layers

_STORE_REMEDY = "Start or mount it, and run agent-runners migrate; or set AGENT_RUNNERS_S3_... or _ARTIFACTS_DIR"


def examine() -> Iterator[Finding]:
    """Look at every part in turn; a part that breaks while it is looked at is reported as missing."""
    parts: list[tuple[str, Callable[[], Finding], str]] = [
        ("git", machine.git, "Install it: apt-get install git"),
        ("data folder", machine.data_folder, "Make it writable, or set AGENT_RUNNERS_DATA_DIR"),
        ("database", record.database, "Start it, or set AGENT_RUNNERS_DATABASE_URL"),
        ("secret key", record.key, "Mend the database first; this host's key is compared with the deployment's"),
        ("clock", record.clock, "Mend the database first; this host's clock is compared with it"),
        ("heartbeat", machine.heartbeat, ""),
        (
            "broker",
            messages.broker,
            "Start it: agent-runners up, or agent-runners broker; or set AGENT_RUNNERS_BROKER_URL",
        ),
        ("workers", messages.workers, "Mend the broker first; they are asked through it"),
        ("sweep", record.sweep, "Mend the database first; it tells when the last one ended"),
        ("artifact store", machine.artifact_store, _STORE_REMEDY),
    ]
    for part, look, remedy in parts:
        try:
            yield look()
        except Exception as error:
            yield broken(part, error, remedy)
    try:
        yield from stuck.stuck()
    except Exception as error:
        yield broken("queue", error, "Mend the database first; it tells what waits")
    try:
        for layer in layers(this_host(), limits_of(SessionLimits(settings().max_duration_seconds))):
            yield Finding(layer.name, layer.state, layer.detail, layer.remedy)
    except SettingsError as error:
        yield Finding("settings", "missing", str(error), "Mend it; docs/settings.md says what each setting takes")
    except Exception as error:
        yield broken("sandbox", error, "Set AGENT_RUNNERS_LOG_LEVEL=DEBUG, and see what a session worker says")
    for agent in settings().agents:
        reason = find_missing(agent)
        yield Finding(f"agent {agent}", "missing" if reason else "working", reason or "installed")


def main(arguments: list[str] | None = None) -> int:
    """Print the findings; the exit status is 1 where something is missing or failing."""
    parser = argparse.ArgumentParser(prog="agent-runners doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, one finding a line")
    asked = parser.parse_args(arguments)
    findings = list(examine())
    if asked.json:
        for finding in findings:
            print(json.dumps(dataclasses.asdict(finding)))
    else:
        _print(findings)
    # An agent that is not installed is no fault: most deployments use one of them.
    faults = [finding for finding in findings if not finding.part.startswith("agent ")]
    return int(any(finding.state in ("missing", "failing") for finding in faults))


def _print(findings: list[Finding]) -> None:
    table = Table("part", "state", "", box=None, header_style="dim")
    colours = {"working": "green", "missing": "red", "failing": "red", "off": "yellow"}
    for finding in findings:
        detail = escape(finding.detail) + (f"\n[bold]{escape(finding.remedy)}[/bold]" if finding.remedy else "")
        table.add_row(finding.part, f"[{colours[finding.state]}]{finding.state}[/]", detail)
    Console(emoji=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
