"""The same asked for more than once: a message that is delivered again, a request that is sent again."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import redis
from celery import Celery

from app.queue import RUN_SESSION, SESSIONS
from tests.deployment import Deployment, wait_for
from tests.faults.sessions import start

DELIVERIES = 5
REQUESTS = 20


def test_a_message_that_is_delivered_five_times_to_three_workers_is_one_attempt(deployment: Deployment) -> None:
    deployment.start_worker("sessions-3")
    wait_for("the third worker", lambda: " ready." in deployment.log("sessions-3"))
    runs, mark = (deployment.folder / f"{name}-{uuid.uuid4().hex}" for name in ("runs", "mark"))
    script = f"echo run >> {runs}; until test -e {mark}; do sleep 0.2; done; echo done > a.txt"
    runner = start(deployment, "delivered", script)

    sender = Celery(broker=f"redis+socket://{deployment.broker_socket}", set_as_current=False)
    message = {"args": [runner["latest_session_id"]], "task_id": uuid.uuid4().hex, "ignore_result": True}
    for _ in range(DELIVERIES):
        sender.send_task(RUN_SESSION, queue=SESSIONS, **message)
    with redis.Redis(unix_socket_path=str(deployment.broker_socket)) as broker:
        wait_for("the delivery of every message", lambda: broker.llen(SESSIONS) == 0)
    sender.close()
    mark.touch()

    session = deployment.ended(runner)
    assert (session["state"], session["attempt"]) == ("DONE", 1), session["failure"]
    assert "+done" in deployment.diff(runner, session, "result")
    assert runs.read_text() == "run\n", "the agent was started once"


def test_twenty_requests_at_once_under_one_key_make_one_runner(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "asked-again"), name="asked-again")
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    barrier = Barrier(REQUESTS)

    def ask(prompt: str) -> httpx.Response:
        return deployment.api.post("/agent_runners", json={"site_id": site["id"], "prompt": prompt}, headers=headers)

    def ask_with_the_others(_: int) -> httpx.Response:
        barrier.wait()
        return ask("echo once > a.txt")

    with ThreadPoolExecutor(REQUESTS) as threads:
        answers = list(threads.map(ask_with_the_others, range(REQUESTS)))

    made = [answer for answer in answers if answer.status_code == 201]
    early = [answer for answer in answers if answer.status_code != 201]
    assert ["Idempotent-Replayed" in answer.headers for answer in made].count(False) == 1
    assert {answer.headers.get("Idempotent-Replayed", "true") for answer in made} == {"true"}
    assert {(answer.status_code, answer.json()["error_code"]) for answer in early} <= {(409, "idempotency_in_flight")}
    [listed] = deployment.call("GET", "/agent_runners", params={"site_id": site["id"]})
    assert {answer.json()["id"] for answer in made} == {listed["id"]}

    late = ask("echo once > a.txt")
    assert (late.status_code, late.headers["Idempotent-Replayed"], late.json()["id"]) == (201, "true", listed["id"])
    other = ask("echo something else > a.txt")
    assert (other.status_code, other.json()["error_code"]) == (422, "idempotency_key_reused")
    assert len(deployment.call("GET", "/agent_runners", params={"site_id": site["id"]})) == 1
