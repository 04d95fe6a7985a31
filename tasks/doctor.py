"""`agent-runners doctor`: each part of this deployment, as working, missing, failing or off, with the remedy."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import redis
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app import artifacts, db, queue
from app.config import own_secrets, settings
from app.redaction.secrets import Secrets
from app.services import last_runs, metrics
from app.services.artifacts import references
from app.services.metrics import Stuck
from app.setting_values import SettingsError
from migrations.config import alembic_config
from tasks.heartbeat import Heartbeat
from tasks.session_jobs import limits_of, this_host
from workers.agents import find_missing
from workers.sandbox.layers import layers

State = Literal["working", "missing", "failing", "off"]
PINS_ADDRESSES = (2, 37)
LEAST_FREE_BYTES = 2 * 1024**3
# So many sweeps may be late before something is wrong.
LATE_SWEEPS = 6
# These are explained in docs/faults.md. A session waits for two sweeps at most where a worker has room, and a
# publication that the forge refuses for passing reasons is given up after ten minutes.
LONGEST_WAIT_SECONDS = 60.0
EXPIRED_LEASE_SECONDS = 120.0
PENDING_SECONDS = 900.0
RECENT_SECONDS = 3600.0
# Messages expire by the clocks of two hosts, the earliest after `redispatch_seconds`.
CLOCKS_APART_SECONDS = 5.0
# So many heartbeats may fail, or come late, and the lease still holds.
SPARE_BEATS = 2
FAULTS = "docs/faults.md says more"


@dataclass(frozen=True)
class Finding:
    """One part of the deployment. `remedy` is empty where nothing is to be done."""

    part: str
    state: State
    told: str
    remedy: str = ""


_STORE_REMEDY = "Start or mount it, and run agent-runners migrate; or set AGENT_RUNNERS_S3_... or _ARTIFACTS_DIR"


def examine() -> Iterator[Finding]:
    """Look at every part in turn; a part that breaks while it is looked at is told as missing."""
    parts: list[tuple[str, Callable[[], Finding], str]] = [
        ("git", _git, "Install it: apt-get install git"),
        ("data folder", _data_folder, "Make it writable, or set AGENT_RUNNERS_DATA_DIR"),
        ("database", _database, "Start it, or set AGENT_RUNNERS_DATABASE_URL"),
        ("clock", _clock, "Mend the database first; this host's clock is compared with it"),
        ("heartbeat", _heartbeat, ""),
        ("broker", _broker, "Start it: agent-runners up, or agent-runners broker; or set AGENT_RUNNERS_BROKER_URL"),
        ("workers", _workers, "Mend the broker first; they are asked through it"),
        ("sweep", _sweep, "Mend the database first; it tells when the last one ended"),
        ("artifact store", _artifacts, _STORE_REMEDY),
    ]
    for part, look, remedy in parts:
        try:
            yield look()
        except Exception as error:
            yield _broken(part, error, remedy)
    try:
        yield from _stuck()
    except Exception as error:
        yield _broken("queue", error, "Mend the database first; it tells what waits")
    try:
        for layer in layers(this_host(), limits_of(settings().max_duration_seconds)):
            yield Finding(layer.name, layer.state, layer.told, layer.remedy)
    except SettingsError as error:
        yield Finding("settings", "missing", str(error), "Mend it; docs/settings.md says what each setting takes")
    except Exception as error:
        yield _broken("sandbox", error, "Set AGENT_RUNNERS_LOG_LEVEL=DEBUG, and see what a session worker says")
    for agent in settings().agents:
        reason = find_missing(agent)
        yield Finding(f"agent {agent}", "missing" if reason else "working", reason or "installed")


def _broken(part: str, error: Exception, remedy: str) -> Finding:
    told = str(error).splitlines()[0] if str(error) else ""
    return Finding(
        part, "missing", Secrets(None, own_secrets(settings())).redact(f"{type(error).__name__}: {told}"), remedy
    )


def _git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding("git", "missing", "no git on PATH", "Install it: apt-get install git")
    version = subprocess.run([path, "version"], capture_output=True, text=True, check=True).stdout.strip()
    number = re.search(r"(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < PINS_ADDRESSES:
        told = f"{version}; older than 2.37, so the address of a repository is checked, but git looks it up once more"
        return Finding("git", "working", told, "Install a newer one")
    return Finding("git", "working", version)


def _data_folder() -> Finding:
    folder = settings().data_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(folder).free
    told = f"{folder}, {free / 1024**3:.1f} GiB free"
    if not os.access(folder, os.W_OK):
        return Finding("data folder", "missing", told, "Make it writable, or set AGENT_RUNNERS_DATA_DIR")
    if free < LEAST_FREE_BYTES:
        return Finding("data folder", "missing", told, "Make room, or set AGENT_RUNNERS_DATA_DIR")
    return Finding("data folder", "working", told)


def _database() -> Finding:
    engine = db.make_engine(settings().database)
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    told = f"{engine.dialect.name}, revision {revision}"
    engine.dispose()
    if revision != ScriptDirectory.from_config(alembic_config()).get_current_head():
        return Finding("database", "missing", told, "Run: agent-runners migrate")
    return Finding("database", "working", told)


def _clock() -> Finding:
    db.configure(settings().database)
    with db.transaction(read_only=True):
        apart = (datetime.datetime.now(datetime.UTC) - references.moment(0)).total_seconds()
    if abs(apart) <= CLOCKS_APART_SECONDS:
        return Finding("clock", "working", "as that of the database")
    told = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} that of the database"
    return Finding("clock", "failing", told, f"Let both keep the network's time, by chrony for example. {FAULTS}")


def _heartbeat() -> Finding:
    beat, lease = settings().heartbeat_seconds, settings().lease_seconds
    told = f"every {beat:g} s, for a lease of {lease:g} s"
    if beat * (SPARE_BEATS + 1) > lease * Heartbeat.SHARE_OF_LEASE:
        remedy = "Set AGENT_RUNNERS_HEARTBEAT_SECONDS to a quarter of AGENT_RUNNERS_LEASE_SECONDS or less"
        return Finding("heartbeat", "failing", told, remedy)
    return Finding("heartbeat", "working", told)


def _broker() -> Finding:
    url = settings().broker.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
    version = client.info("server")
    return Finding("broker", "working", f"{version.get('server_name', 'redis')} {version['redis_version']}")


def _workers() -> Finding:
    answers = queue.celery().control.inspect(timeout=1).active_queues() or {}
    served = {each["name"] for queues in answers.values() for each in queues}
    lacking = [name for name in (queue.SESSIONS, queue.CONTROL, queue.SWEEP) if name not in served]
    if lacking:
        remedy = "Start them: " + ", ".join(f"agent-runners worker {name}" for name in lacking)
        return Finding("workers", "missing", f"nobody serves {', '.join(lacking)}", remedy)
    return Finding("workers", "working", ", ".join(sorted(answers)))


def _sweep() -> Finding:
    db.configure(settings().database)
    with db.transaction(read_only=True):
        age = last_runs.age(last_runs.SWEEP)
    told = "there has been none yet" if age is None else f"the last one ended {age:.0f} s ago"
    if age is None or age > settings().sweep_seconds * LATE_SWEEPS:
        remedy = "Start its worker: agent-runners worker sweep. Without it nothing that was lost is found again"
        return Finding("sweep", "missing", told, remedy)
    return Finding("sweep", "working", told)


def _stuck() -> Iterator[Finding]:
    with db.transaction(read_only=True):
        found = metrics.find_stuck(EXPIRED_LEASE_SECONDS, PENDING_SECONDS, RECENT_SECONDS)
    yield _queue(found)
    yield _judge(
        "leases",
        found.expired_leases,
        f"sessions are RUNNING whose worker has not beaten, and which nobody swept, for {EXPIRED_LEASE_SECONDS:.0f} s",
        "See to the sweep above, and to the log of its worker",
    )
    yield _judge(
        "publications",
        found.pending_publications,
        f"pull requests and commits have not come to an end for {PENDING_SECONDS / 60:.0f} min",
        "Start, or start anew: agent-runners worker control. Its log says what holds them up",
    )
    yield _judge(
        "lost sessions",
        found.lost_sessions,
        f"sessions ended with `worker_lost` in the last {RECENT_SECONDS / 60:.0f} min",
        "Read the logs of the session workers; memory is the usual reason",
    )


def _queue(found: Stuck) -> Finding:
    """Whether sessions wait that could run: nobody's limits hold them back, and the workers have room."""
    seconds = found.longest_wait_seconds
    if seconds <= LONGEST_WAIT_SECONDS:
        return Finding("queue", "working", "nobody waits long")
    told, places = f"the oldest session that may run waits {seconds:.0f} s", _places()
    if not places:
        told, remedy = f"{told}, and no worker answers", "Start one: agent-runners worker sessions"
    elif found.running < places:
        told = f"{told}, though {found.running} run where {places} may"
        remedy = "See to the broker and the sweep above, then start the session workers anew"
    else:
        # A long queue is no fault of ours, but whoever asks may want to know.
        return Finding("queue", "working", f"{told}; all {places} places are taken", "Start more session workers")
    return Finding("queue", "failing", told, f"{remedy}. {FAULTS}")


def _places() -> int:
    """How many sessions the workers that answer run at once; none where the broker does not, which its row tells."""
    try:
        ask = queue.celery().control.inspect(timeout=1)
        served = ask.active_queues() or {}
        pools = {name: each["pool"]["max-concurrency"] for name, each in (ask.stats() or {}).items()}
    except Exception:
        return 0
    return sum(
        pools.get(name, 0) for name, queues in served.items() if any(each["name"] == queue.SESSIONS for each in queues)
    )


def _judge(part: str, number: int, told: str, remedy: str) -> Finding:
    if number:
        return Finding(part, "failing", f"{number} {told}", f"{remedy}. {FAULTS}")
    return Finding(part, "working", "nothing to see to")


def _artifacts() -> Finding:
    key = f"doctor/{db.new_id()}"
    artifacts.store().put(key, [b"x"])
    artifacts.store().delete(key)
    place = f"bucket {settings().s3_bucket}" if settings().s3_bucket else str(settings().artifacts)
    return Finding("artifact store", "working", place)


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
        told = escape(finding.told) + (f"\n[bold]{escape(finding.remedy)}[/bold]" if finding.remedy else "")
        table.add_row(finding.part, f"[{colours[finding.state]}]{finding.state}[/]", told)
    Console(emoji=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
