"""What an account that does its worst costs another one: calls, the start of sessions and publishing.

The anchor is the same deployment without it. The hostile account may run one of the worker's two sessions: an account that
may run all of them makes others wait for the end of its sessions, which is what that limit is for.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.deployments import SAY_TIME, Clock, deployment, small_repository
from bench.figures import Figure, Samples, Size, at_most
from bench.posts import Caller
from tests.deployment import Deployment, wait_for

REST_SECONDS = 0.1
FIGURES = ("POST", "POST until the first command", "commit until it is pushed")


def measure(size: Size) -> Iterator[Figure]:
    """POST, start of a session and a commit of one account, while another one does its worst."""
    with deployment() as deployed:
        deployed.start("sweep", "worker", "sweep")
        deployed.start("control", "worker", "control")
        deployed.start_worker("sessions-1")
        repository = small_repository(deployed)
        site, clock = deployed.make_site(repository), Clock(deployed)
        count = size.pick(1, 10, 100)
        _round(deployed, clock, site)
        idle = [_round(deployed, clock, site) for _ in range(count)]
        hostile = _hostile(deployed, str(deployed.make_repository({"file": "x\n"}, "hostile")))
        try:
            under_attack = [_round(deployed, clock, site) for _ in range(count)]
        finally:
            hostile.kill()
            hostile.wait()
    for number, name in enumerate(FIGURES):
        alone, beside = ([value for each in rounds for value in each[number]] for rounds in (idle, under_attack))
        of = "p99" if name == "POST" else "median"
        goals = [at_most(1.5, of, times_anchor=True)]
        yield Figure(name, "ms", beside, Samples("without the hostile account", alone), goals)


def _round(deployed: Deployment, clock: Clock, site: dict[str, Any]) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of some POSTs, of the start of a session, and of the commit of what it made."""
    caller = Caller(deployed.url, {"Authorization": deployed.api.headers["Authorization"]})
    posts = []
    for _ in range(10):
        time.sleep(REST_SECONDS)
        took, runner = caller.call("POST", "/api/v1/agent_runners", {"site_id": site["id"], "prompt": "true"})
        posts.append(took)
        clock.until_final(runner["latest_session_id"])
    timed, runner = clock.time(lambda: deployed.run(site, f"{SAY_TIME}; date > f0.txt"))
    begun = time.time()
    deployed.call("POST", f"/agent_runners/{runner['id']}/commit", json={"target_branch": f"b-{runner['id']}"})
    pushed_at = clock.until_published(runner["id"])
    published = deployed.published(runner)
    assert published["merge_commit_sha"], published["merge_commit_error"]
    return posts, [timed.first_command], [(pushed_at - begun) * 1000]


def _hostile(deployed: Deployment, repository: str) -> subprocess.Popen[bytes]:
    """The hostile account, once it attacks."""
    limit = ("--max-concurrent-sessions", "1")
    printed = deployed.command("account", "create", "Mallory", "--email", "mallory@example.org", *limit)
    token = next(word for word in printed.split() if word.startswith("ar_"))
    log = deployed.folder / "hostile.log"
    with open(log, "wb") as output:
        command = [sys.executable, "-m", "bench.hostile_account", deployed.url, token, repository]
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    # Beside other work it gets little of a processor.
    wait_for("the hostile account", lambda: "attacking" in log.read_text(), seconds=600)
    return process
