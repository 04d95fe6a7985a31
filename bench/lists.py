"""P4: pages of a list of very many runners, beside the same pages of a list of a thousand."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db
from bench.deployments import deployment, small_repository
from bench.figures import Figure, Samples, Size, at_most
from tests.deployment import Deployment
from tests.many_runners import copy_runner

FEW = 1_000
PER_PAGE = 30
_CREATED = sa.text("SELECT created_at FROM agent_runners ORDER BY created_at LIMIT 1 OFFSET :earlier")


def measure(size: Size) -> Iterator[Figure]:
    """A page of a list of very many runners, for each filter."""
    count, rounds = size.pick(2_000, 100_000, 1_000_000), size.pick(1, 10, 50)
    with listed(FEW) as few, listed(count) as many:
        for name, query in many.queries().items():
            # Read once, so that neither waits for the disk later.
            of_few, of_many = few.queries()[name], query
            few.read(of_few), many.read(of_many)
            # They take turns, each first in every other round.
            found: list[float] = []
            beside: list[float] = []
            for number in range(rounds):
                pairs = [(few, of_few, beside), (many, of_many, found)]
                for lists, asked, values in pairs if number % 2 else reversed(pairs):
                    values.append(lists.read(asked))
            anchor = Samples(f"the same of {FEW:,} runners", beside)
            goal = at_most(40) if name.startswith(("title", "q")) else at_most(1.5, times_anchor=True)
            yield Figure(f"{name}, of {count:,} runners", "ms", found, anchor, [goal])
        far_back = f"page={min(1000, count // PER_PAGE)}"
        values = [many.read(far_back) for _ in range(rounds)]
        yield Figure(f"{far_back}, of {count:,} runners", "ms", values, goals=[at_most(40)])


@dataclass(frozen=True)
class Lists:
    """A deployment with many runners."""

    deployed: Deployment
    runner: dict[str, Any]
    middle: str
    """When half of the runners had been created, in Unix seconds."""
    recent: str
    """When all but a hundred had."""

    def queries(self) -> dict[str, str]:
        return {
            "all": "",
            "by cursor": "cursor=",
            "state": "state=ERROR",
            "several states": "state=ERROR,ARCHIVED",
            "branch": "branch=branch-7",
            "branch and state": "branch=branch-2&state=ERROR",
            "result_branch": "result_branch=agent/77",
            "user_id": f"user_id={self.runner['user']['id']}",
            "site_id": f"site_id={self.runner['site_id']}",
            "created_at_from": f"created_at_from={self.middle}",
            "created_at_to": f"created_at_to={self.middle}",
            "agent": "agent=agent-7",
            "agent and state": "agent=agent-7&state=ERROR",
            "parent": f"parent_agent_runner_id={self.runner['id']}",
            "pr_state": "pr_state=open",
            "several pr_states": "pr_state=open,merged&state=ERROR,DONE",
            "state=live": "state=live",
            "since a moment ago": f"since={self.recent}",
            "since": f"since={self.middle}",
            "title of one": "title=Number 777&state=DONE,ERROR,ARCHIVED",
            "title of a hundredth": "title=Number 77",
            "title of all": "title=Task",
            "title of none": "title=nothing like it",
            "q of one": "q=do task number 777&state=DONE,ERROR,ARCHIVED",
            "q of a hundredth": "q=number 77",
            "q of all": "q=do task",
            "q of none": "q=nothing like it",
        }

    def read(self, query: str) -> float:
        """Milliseconds for a page."""
        begun = time.perf_counter()
        self.deployed.call("GET", f"/agent_runners?per_page={PER_PAGE}&{query}")
        return (time.perf_counter() - begun) * 1000


@contextlib.contextmanager
def listed(runners: int) -> Iterator[Lists]:
    """A deployment with that many runners, none of which waits."""
    with deployment() as deployed:
        runner = deployed.run(deployed.make_site(small_repository(deployed)), "true")
        deployed.call("DELETE", f"/agent_runners/{runner['id']}")
        engine = db.make_engine(deployed.database_url)
        copy_runner(engine, runner["id"], runners - 1)
        with engine.connect() as connection:
            middle, recent = (
                str(connection.execute(_CREATED, {"earlier": earlier}).scalar_one().timestamp())
                for earlier in (runners // 2, runners - 100)
            )
        engine.dispose()
        yield Lists(deployed, runner, middle, recent)
