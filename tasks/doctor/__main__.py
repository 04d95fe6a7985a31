"""`agent-runners doctor`: check each part of this deployment: working, missing, failing or off, with the remedy."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.config import acp_agents, settings
from app.models.limits import SessionLimits
from app.setting_values import SettingsError
from tasks.doctor import github, machine, messages, record, stuck
from tasks.doctor.finding import Finding, broken
from tasks.jobs.session_jobs import limits_of
from workers.agents.registry import find_missing
from workers.sandbox.layers import layers

_STORE_REMEDY = "Start or mount it, and run agent-runners migrate; or set AGENT_RUNNERS_S3_... or _ARTIFACTS_DIR"


def examine() -> Iterator[Finding]:
    """Check every part. A part whose check raises an error is reported as missing."""
    parts: list[tuple[str, Callable[[], Finding], str]] = [
        ("git", machine.git, "Install it: apt-get install git"),
        ("data folder", machine.data_folder, "Make it writable, or set AGENT_RUNNERS_DATA_DIR"),
        ("database", record.database, "Start it, or set AGENT_RUNNERS_DATABASE_URL"),
        (
            "secret key",
            record.key,
            "Fix the database first; this host's key is compared with the deployment's, which is stored there",
        ),
        ("clock", record.clock, "Fix the database first; this host's clock is compared with its clock"),
        ("heartbeat", machine.heartbeat, ""),
        (
            "broker",
            messages.broker,
            "Start it: agent-runners up, or agent-runners broker; or set AGENT_RUNNERS_BROKER_URL",
        ),
        ("workers", messages.workers, "Fix the broker first; workers are reached through it"),
        ("sweep", record.sweep, "Fix the database first; it stores when the last sweep ended"),
        ("artifact store", machine.artifact_store, _STORE_REMEDY),
        *(
            [("signing key", machine.signing, "Correct AGENT_RUNNERS_SIGNING_KEY_FILE")]
            if settings().signing_key_file
            else []
        ),
        *([("github app", github.app, github.REMEDY)] if settings().github_app_id else []),
        *([("mail server", machine.mail, "Correct AGENT_RUNNERS_SMTP_URL")] if settings().smtp_url else []),
    ]
    for part, look, remedy in parts:
        try:
            yield look()
        except Exception as error:
            yield broken(part, error, remedy)
    try:
        record.configure()
        yield from stuck.stuck()
    except Exception as error:
        yield broken("queue", error, "Fix the database first; it stores the waiting sessions")
    try:
        with machine.host() as host:
            for layer in layers(host, limits_of(SessionLimits(settings().max_duration_seconds))):
                yield Finding(layer.name, layer.state, layer.detail, layer.remedy)
    except SettingsError as error:
        yield Finding("settings", "missing", str(error), "Correct the setting; docs/settings.md lists the values")
    except Exception as error:
        yield broken("sandbox", error, "Set AGENT_RUNNERS_LOG_LEVEL=DEBUG, and read the log of a session worker")
    for agent in settings().agents:
        reason = find_missing(agent, acp_agents(settings()))
        yield Finding(f"agent {agent}", "missing" if reason else "working", reason or "installed")


def main(arguments: list[str] | None = None) -> int:
    """Print the findings. The exit status is 1 if something is missing or failing."""
    parser = argparse.ArgumentParser(prog="agent-runners doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, one finding a line")
    asked = parser.parse_args(arguments)
    findings = list(examine())
    if asked.json:
        for finding in findings:
            print(json.dumps(dataclasses.asdict(finding)))
    else:
        _print(findings)
    # A missing agent is not a fault, because most deployments use only one.
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
