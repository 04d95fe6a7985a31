"""`agent-runners doctor` in a deployment that runs, and in one of which a part has gone."""

from __future__ import annotations

import json

from tests.deployment import Deployment, wait_for
from tests.faults.conftest import SLOW
from tests.program import run_program

# Each look at all parts costs the processors something.
PAUSE = 4.0


def missing(deployment: Deployment) -> dict[str, str]:
    """The parts that are missing, each with its remedy, but for agents, which a machine need not have."""
    done = run_program(["doctor", "--json"], deployment.environment())
    found = [json.loads(line) for line in done.stdout.splitlines()]
    lacking = {each["part"]: each["remedy"] for each in found if each["state"] == "missing"}
    return {part: remedy for part, remedy in lacking.items() if not part.startswith("agent ")}


@SLOW
def test_the_missing_part_is_named_with_its_remedy(one_deployment: Deployment) -> None:
    deployment = one_deployment
    wait_for("every part to work", lambda: not missing(deployment), pause=PAUSE)

    for name in ("sweep", "sweep-2"):
        deployment.kill(name)
    wait_for("the sweep to be missed", lambda: missing(deployment).keys() == {"workers", "sweep"}, pause=PAUSE)
    assert all("agent-runners worker sweep" in remedy for remedy in missing(deployment).values())
    for name in ("sweep", "sweep-2"):
        deployment.start(name, "worker", "sweep", "--name", name)
    wait_for("every part to work", lambda: not missing(deployment), pause=PAUSE)

    deployment.kill("broker")
    try:
        found = missing(deployment)
        # Nobody sweeps meanwhile, which a slow doctor may see too.
        assert found.keys() - {"sweep"} == {"broker", "workers"}, found
        assert "agent-runners broker" in found["broker"], found
    finally:
        deployment.start("broker", "broker")
    wait_for("every part to work", lambda: not missing(deployment), pause=PAUSE)
