"""The engine: it works on a job in a workspace and a sandbox, with an agent, and hands back diffs.

A plain library. It knows no web server, no database and no queue.
"""

from __future__ import annotations

from workers.attempt import run
from workers.errors import EngineError, Interrupted
from workers.events import BaseCommit, Event, Outcome, Progress, Step, Usage
from workers.job import Attachment, Host, Job, Limits
from workers.processes.forking import fork_ahead, start_fork_server
from workers.processes.lifeline import Lifeline, boot_time
from workers.workspace.deleted_sites import find_sites, remove_site
from workers.workspace.orphans import discard_workspaces, find_workspaces, is_orphan, locked, save_lost_work
from workers.workspace.warming import SiteRepository, warm

__all__ = [
    "Attachment",
    "BaseCommit",
    "EngineError",
    "Event",
    "Host",
    "Interrupted",
    "Job",
    "Lifeline",
    "Limits",
    "Outcome",
    "Progress",
    "SiteRepository",
    "Step",
    "Usage",
    "boot_time",
    "discard_workspaces",
    "find_sites",
    "find_workspaces",
    "fork_ahead",
    "is_orphan",
    "locked",
    "remove_site",
    "run",
    "save_lost_work",
    "start_fork_server",
    "warm",
]
