"""Checks of the broker, and of the workers that answer through it."""

from __future__ import annotations

from collections import Counter

import redis

from app import queue
from app.config import settings
from tasks.doctor.finding import Finding

SHARED_NAME = "Give each worker on a host a unique name: agent-runners worker QUEUE --name NAME"


def broker() -> Finding:
    url = settings().broker.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
    version = client.info("server")
    return Finding("broker", "working", f"{version.get('server_name', 'redis')} {version['redis_version']}")


def workers() -> Finding:
    # Not `inspect`, which merges the answers of workers with the same name.
    replies = queue.celery().control.broadcast("active_queues", reply=True, timeout=1) or []
    answers = [(name, queues) for reply in replies for name, queues in reply.items()]
    served = {each["name"] for _, queues in answers for each in queues}
    names = Counter(name for name, _ in answers)
    if shared := sorted(name for name, number in names.items() if number > 1):
        return Finding("workers", "failing", f"several workers have the name {', '.join(shared)}", SHARED_NAME)
    unserved = [name for name in (queue.SESSIONS, queue.CONTROL, queue.SWEEP) if name not in served]
    if unserved:
        remedy = "Start them: " + ", ".join(f"agent-runners worker {name}" for name in unserved)
        return Finding("workers", "missing", f"no worker serves {', '.join(unserved)}", remedy)
    return Finding("workers", "working", ", ".join(sorted(names)))
