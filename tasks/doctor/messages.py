"""The broker, and the workers that answer through it."""

from __future__ import annotations

import redis

from app import queue
from app.config import settings
from tasks.doctor.finding import Finding


def broker() -> Finding:
    url = settings().broker.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
    version = client.info("server")
    return Finding("broker", "working", f"{version.get('server_name', 'redis')} {version['redis_version']}")


def workers() -> Finding:
    answers = queue.celery().control.inspect(timeout=1).active_queues() or {}
    served = {each["name"] for queues in answers.values() for each in queues}
    lacking = [name for name in (queue.SESSIONS, queue.CONTROL, queue.SWEEP) if name not in served]
    if lacking:
        remedy = "Start them: " + ", ".join(f"agent-runners worker {name}" for name in lacking)
        return Finding("workers", "missing", f"nobody serves {', '.join(lacking)}", remedy)
    return Finding("workers", "working", ", ".join(sorted(answers)))
