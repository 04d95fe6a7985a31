"""The page of a run with very many steps: what the web process spends until it can be seen."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import httpx
import psutil
import sqlalchemy as sa

from app.models import Event
from app.services import events
from bench.deployments import cpu_seconds, deployment, small_repository
from bench.figures import Figure, Samples, Size, at_most
from tests.deployment import Deployment

STEPS = 1_000
# A message in Markdown, and a command with its output, in turns.
_SAID = {
    "title": "Looking",
    "message": "I look at `f1.txt` first:\n\n* it is **short**\n* it has lines",
    "category": "message",
}
_RUN = {
    "title": "Bash: ls -l f1.txt",
    "message": "\x1b[32m-rw-r--r--\x1b[0m 1 agent f1.txt\n" * 10,
    "category": "command",
}


def measure(size: Size) -> Iterator[Figure]:
    """The first page of a run with 1,000 steps in the console, as CPU time of the web process."""
    rounds = size.pick(2, 20, 100)
    with deployment() as deployed:
        site = deployed.make_site(small_repository(deployed))
        few, many = (_page(deployed, deployed.run(site, "Go on.")["id"], count) for count in (1, STEPS))
        with httpx.Client(base_url=deployed.url, timeout=60) as client:
            _sign_in(client, deployed)
            web = psutil.Process(deployed.processes["web"].pid)
            found, beside = list[float](), list[float]()
            for _ in range(rounds):
                for path, values in ((few, beside), (many, found)):
                    before = cpu_seconds(web)
                    client.get(path).raise_for_status()
                    values.append((cpu_seconds(web) - before) * 1000)
    anchor = Samples("the same of a run with one step", beside)
    yield Figure(f"page of a run with {STEPS:,} steps", "ms of CPU time", found, anchor, [at_most(150)])


def _sign_in(client: httpx.Client, deployed: Deployment) -> None:
    """Begin a session of the console, which the client's cookie names."""
    field = re.search(r'name="csrf" value="(\w+)"', client.get("/sign-in").text)
    assert field is not None
    token = deployed.api.headers["Authorization"].removeprefix("Bearer ")
    form = {"csrf": field[1], "token": token}
    assert client.post("/sign-in", data=form).status_code == 303


def _page(deployed: Deployment, runner_id: str, steps: int) -> str:
    """The path of a run's page, after an agent has said so much."""
    engine = sa.create_engine(deployed.database_url)
    with engine.begin() as connection:
        session = sa.text("SELECT latest_session_id FROM agent_runners WHERE id = :id")
        session_id = connection.scalar(session, {"id": uuid.UUID(runner_id)})
        own = {"agent_runner_id": uuid.UUID(runner_id), "session_id": session_id, "attempt": 0, "kind": events.STEP}
        rows = [{**own, "seq": 10 + n, "payload": (_SAID, _RUN)[n % 2]} for n in range(steps)]
        connection.execute(sa.insert(Event), rows)
    engine.dispose()
    return f"/runners/{runner_id}"
