"""How long a session waits for an idle worker, beside a bare Celery task with the same publisher, broker and options.

Each is measured half a second after the one before, and again without a pause: a worker starts a new process for each
session, and the result depends on whether that is ready.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator

from bench.bare_worker import BareWorker
from bench.deployments import Clock, deployment, small_repository
from bench.figures import Figure, Samples, Size

REST_SECONDS = 0.5


def measure(size: Size) -> Iterator[Figure]:
    """From the answer to POST until an idle worker has claimed the session."""
    with deployment() as deployed:
        deployed.start_worker("sessions-1")
        site, clock = deployed.make_site(small_repository(deployed)), Clock(deployed)
        bare = BareWorker(deployed)

        def begin_session() -> float:
            runner = deployed.run(site, "true")
            answered_at = time.time()
            clock.until_final(runner["latest_session_id"])
            started_at = deployed.session(runner, runner["latest_session_id"])["started_at"]
            return datetime.datetime.fromisoformat(started_at).timestamp() - answered_at

        # The first session waits until the worker has started.
        begin_session()
        for rest in (REST_SECONDS, 0):
            tasks, sessions = [], []
            for _ in range(size.pick(1, 20, 50)):
                time.sleep(rest)
                tasks.append(bare.begin() * 1000)
                time.sleep(rest)
                sessions.append(begin_session() * 1000)
            yield Figure(f"{rest:g} s after the end of the one before", "ms", sessions, Samples("bare task", tasks))
