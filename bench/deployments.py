"""A deployment to measure, with the settings that users have, and sessions whose times are noted."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from app.config import Settings
from tests.deployment import Deployment
from tests.ports import free_port
from tests.postgres import postgres_database

# Said by an agent, it shows in a step.
SAY_TIME = "date +said-at-%s.%N"
_SAID = re.compile(r"said-at-(\d+\.\d+)")
# What tests set otherwise.
_DEFAULTS = (
    *("LEASE_SECONDS", "HEARTBEAT_SECONDS", "SWEEP_SECONDS", "REDISPATCH_SECONDS", "SOFT_SHUTDOWN_SECONDS"),
    "WEB_PROCESSES",
)
_FINAL = sa.text("SELECT extract(epoch FROM done_at) FROM agent_runner_sessions WHERE id = :id AND done_at IS NOT NULL")
_PUBLISHED = sa.text(
    "SELECT extract(epoch FROM finished_at) FROM publications WHERE agent_runner_id = :id AND finished_at IS NOT NULL"
)
_PATIENCE_SECONDS = 300.0


@contextlib.contextmanager
def deployment(**settings: str) -> Iterator[Deployment]:
    """Web process and broker on a fresh Postgres, with bubblewrap and the default settings. Workers are the caller's."""
    defaults = {name: f"{getattr(Settings, name.lower()):g}" for name in _DEFAULTS}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, postgres_database() as url:
        chosen = {"AGENTS": "shell,scripted", "SANDBOX": "bubblewrap", **defaults, **settings}
        deployed = Deployment(Path(folder), url, free_port(), **chosen)
        try:
            deployed.start_api()
            yield deployed
        finally:
            deployed.stop_all()


def small_repository(deployment: Deployment) -> Path:
    """Twenty files of twenty lines, `f0.txt` and so on."""
    return deployment.make_repository({f"f{number}.txt": "line\n" * 20 for number in range(20)})


@dataclass(frozen=True)
class Timed:
    """Milliseconds from sending the POST of a session."""

    answered: float
    first_command: float
    done: float
    said: float
    """Until the last time that the agent said."""


class Clock:
    """Runs sessions and notes their times. It looks at the database, so that waiting costs the web process nothing."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._engine = sa.create_engine(deployment.database_url, isolation_level="AUTOCOMMIT")

    def run(self, site: dict[str, Any], prompt: str) -> Timed:
        """A new runner of the site. The prompt begins with `SAY_TIME`."""
        return self.time(lambda: self._deployment.run(site, prompt))[0]

    def time(self, post: Callable[[], dict[str, Any]]) -> tuple[Timed, dict[str, Any]]:
        """The times of the session that `post` creates, and what `post` returned."""
        begun = time.time()
        created = post()
        answered = time.time()
        runner_id, session_id = created.get("agent_runner_id", created["id"]), created.get("latest_session_id")
        done_at = self.until_final(session_id or created["id"])
        session = self._deployment.session({"id": runner_id}, session_id or created["id"])
        said = said_in(session)
        return Timed(*((at - begun) * 1000 for at in (answered, said[0], done_at, said[-1]))), created

    def until_final(self, session_id: str) -> float:
        """Wait for the end of a session; when that was, in seconds since the epoch."""
        return self._until(_FINAL, session_id)

    def until_published(self, runner_id: str) -> float:
        """Wait for the end of a runner's only publication; when that was, in seconds since the epoch."""
        return self._until(_PUBLISHED, runner_id)

    def _until(self, ended: sa.TextClause, which: str) -> float:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with self._engine.connect() as connection:
            while time.monotonic() < deadline:
                if (ended_at := connection.scalar(ended, {"id": which})) is not None:
                    return float(ended_at)
                time.sleep(0.005)
        raise AssertionError(f"{which} did not end within {_PATIENCE_SECONDS:g} s")


def said_in(session: dict[str, Any]) -> list[float]:
    """The times that the agent of a session that is DONE said, in seconds since the epoch."""
    assert session["state"] == "DONE", session["failure"]
    found = [float(at) for step in session["steps"] for at in _SAID.findall(step["title"] + step["message"])]
    assert found, session["steps"]
    return found


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process and of all its descendants, those that have ended included."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:4])
    return total
