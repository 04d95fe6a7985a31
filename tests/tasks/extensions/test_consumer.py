"""A worker outlives messages that it cannot read, and what strangers in the broker tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kombu
import redis
from celery import Celery

from app import queue
from tests.deployment import Deployment, wait_for
from tests.ports import free_port

OF_US = {"task": queue.PUBLISH, "id": "x", "lang": "py"}
UNREADABLE: list[tuple[str, bytes, dict[str, Any]]] = [
    ("application/data", b"\x00\xff", OF_US),
    ("application/data", b"\x00\xff", {}),
    ("application/json", b"not json", OF_US),
    ("application/json", b"[1]", OF_US),
    ("application/json", b"[[], {}, {}]", OF_US | {"eta": "soon"}),
    ("application/json", b"[[], {}, {}]", OF_US | {"task": ["control.publish"]}),
    ("application/x-python-serialize", b"cos\nsystem\n", OF_US),
]


def test_unreadable_messages_are_dropped(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, "", free_port(), forked=True, AGENTS="shell")
    try:
        deployment.start("broker", "broker")
        deployment.command("migrate")
        wait_for("the broker", lambda: deployment.broker_socket)
        sender = Celery(broker=f"redis+socket://{deployment.broker_socket}", set_as_current=False)
        with sender.connection_for_write() as connection:
            producer = kombu.Producer(connection)
            for content_type, body, headers in UNREADABLE:
                producer.publish(
                    body,
                    routing_key=queue.CONTROL,
                    content_type=content_type,
                    content_encoding="binary" if content_type == "application/data" else "utf-8",
                    headers=headers,
                )
        sender.send_task(queue.COLLECT_GARBAGE, queue=queue.CONTROL)
        worker = deployment.start("control", "worker", "control")

        def is_done() -> bool:
            assert worker.poll() is None, deployment.log("control")
            [found] = (sender.control.inspect(timeout=10, limit=1).stats() or {"none": {"total": {}}}).values()
            return queue.COLLECT_GARBAGE in found["total"]

        wait_for("the message that is readable", is_done)
        assert '"message_dropped"' in deployment.log("control")
        stranger = sender.control
        for command in ("shutdown", "pool_shrink", "cancel_consumer", "terminate", "no such command"):
            stranger.broadcast(command, arguments={"queue": queue.CONTROL, "n": 4, "signal": 9, "task_id": "x"})
        stranger.broadcast("revoke", arguments={"task_id": 7, "terminate": True})
        for body in (b"\x80", b"[1]", b'{"method": "ping", "arguments": 1}'):
            with sender.connection_for_write() as connection:
                producer = kombu.Producer(connection, exchange=stranger.mailbox.exchange, auto_declare=False)
                producer.publish(
                    body, content_type="application/json", content_encoding="utf-8", headers={"clock": "x"}
                )
        sender.send_task("celery.starmap", [queue.COLLECT_GARBAGE, [[]]], queue=queue.CONTROL)
        [before] = wait_for("its state", lambda: sender.control.inspect(timeout=10, limit=1).stats()).values()
        sender.send_task(queue.COLLECT_GARBAGE, queue=queue.CONTROL)

        def times(count: int) -> bool:
            assert worker.poll() is None, deployment.log("control")
            [now] = (sender.control.inspect(timeout=10, limit=1).stats() or {"none": {"total": {}}}).values()
            return bool(now["total"].get(queue.COLLECT_GARBAGE, 0) == count)

        wait_for("another one", lambda: times(2))
        assert len(before["pool"]["processes"]) == 4 and "celery.starmap" not in before["total"]
        # As if its disk was full, the broker answers every write with an error.
        with redis.Redis(unix_socket_path=str(deployment.broker_socket)) as broker:
            broker.config_set("min-replicas-to-write", 1)
            wait_for("a log of that", lambda: "unavailable: NOREPLICAS" in deployment.log("control"))
            broker.config_set("min-replicas-to-write", 0)
        sender.send_task(queue.COLLECT_GARBAGE, queue=queue.CONTROL)
        wait_for("one more", lambda: times(3))
    finally:
        deployment.stop_all()
