"""What sessions leave behind: memory, disk, mounts, processes and open files, as they run on and on.

There is no raw thing beside it. Each figure is that of the last third of the time, beside that of the first.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.deployments import deployment, small_repository
from bench.figures import Figure, Samples, Size, at_most
from bench.memory import MEBIBYTE, pss
from tests.deployment import Deployment, wait_for

UNITS = {
    "memory": "MiB",
    "processes": "",
    "open files": "",
    "mounts": "",
    "files of the worker": "",
    "disk space of the worker": "MiB",
}
GROWTH = at_most(1.1, times_anchor=True)


def measure(size: Size) -> Iterator[Figure]:
    """Sessions of every outcome for an hour: what the last third holds, beside the first."""
    until = time.monotonic() + size.pick(1, 120, 3600)
    with deployment() as deployed:
        deployed.start("sweep", "worker", "sweep")
        deployed.start("control", "worker", "control")
        deployed.start_worker("sessions-1", SESSION_WORKERS="4")
        site = deployed.make_site(small_repository(deployed))
        # What is made once, such as the mirror and the base, is not growth.
        _round(deployed, site)
        found = [_holdings(deployed)]
        while time.monotonic() < until or len(found) < 3:
            _round(deployed, site)
            found.append(_holdings(deployed))
    third = len(found) // 3
    for name, unit in UNITS.items():
        first, last = ([each[name] for each in part] for part in (found[:third], found[-third:]))
        yield Figure(f"{name}, last of {len(found)} rounds", unit, last, Samples("in the first", first), [GROWTH])


def _round(deployed: Deployment, site: dict[str, Any]) -> None:
    """A session of each outcome and a follow-up, all of them ended and saved."""
    done = deployed.run(site, "echo more >> f0.txt; seq 100 > new.txt")
    failed = deployed.run(site, "echo more >> f1.txt; exit 1")
    stopped = deployed.run(site, "echo more >> f2.txt; echo begun; sleep 60")
    deployed.has_step(stopped, "begun")
    deployed.api.delete(f"/agent_runners/{stopped['id']}").raise_for_status()
    deployed.ended(done)
    deployed.follow_up(done, "rm new.txt; echo again >> f0.txt")
    for runner, state in ((done, "DONE"), (failed, "ERROR"), (stopped, "CANCELLED")):
        session = deployed.ended(runner)
        assert session["state"] == state, session
    wait_for("the diff of what was stopped", lambda: deployed.session(stopped)["has_result_diff"])


def _holdings(deployed: Deployment) -> dict[str, float]:
    """What the deployment holds between two rounds. The broker, the database and stored diffs are not included."""
    sessions, found = deployed.processes["sessions-1"], list[psutil.Process]()
    for name in ("web", "sweep", "control", "sessions-1"):
        process = psutil.Process(deployed.processes[name].pid)
        found += [process, *process.children(recursive=True)]
    sizes = list(_sizes(deployed.folder / "sessions-1"))
    return {
        "memory": sum(map(pss, found)),
        "processes": len(found),
        "open files": sum(map(_open_files, found)),
        "mounts": len(Path(f"/proc/{sessions.pid}/mountinfo").read_text().splitlines()),
        "files of the worker": len(sizes),
        "disk space of the worker": sum(sizes) / MEBIBYTE,
    }


def _sizes(top: Path) -> Iterator[int]:
    """The bytes on disk of each file below the folder. Some are being deleted meanwhile, which `os.walk` passes over."""
    for folder, _, files in os.walk(top):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                yield os.lstat(os.path.join(folder, name)).st_blocks * 512


def _open_files(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.num_fds()
    return 0
