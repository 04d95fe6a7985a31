"""One control worker with its own settings, and an account of whose sites no forge answers. A real deployment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tasks.worker import CONTROL_TASKS
from tests.demo.forge import demo_forge
from tests.deployment import Deployment, deployed, wait_for
from tests.faults.test_publishing import PUSH, assert_published_once, changed_runners
from tests.ports import free_port
from tests.workers.engine import linux

pytestmark = linux
SHARE = CONTROL_TASKS // 2
SLOW = [f"slow-{number}" for number in range(CONTROL_TASKS)]


def test_another_account_publishes_beside_it(tmp_path: Path) -> None:
    with demo_forge(tmp_path / "forge") as forge, deployed(tmp_path, "", free_port(), forked=True) as deployment:
        alive = changed_runners(deployment, forge, ["alive"])
        with as_another_account(deployment):
            changed = changed_runners(deployment, forge, SLOW)
            silent = {PUSH["before-the-push"].format(repository.full_name) for _, repository in changed.values()}
            forge.set_faults(holds=list(silent))
            for runner, _ in changed.values():
                deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
            wait_for("its share", lambda: len(forge.held()) == SHARE)
        [(runner, _)] = alive.values()
        deployment.call("POST", f"/agent_runners/{runner['id']}/pull_request", json={})
        assert_published_once(deployment, forge, alive, commits=1)
        assert len(forge.held()) == SHARE, "the other publications wait, and hold no place"
        forge.set_faults(holds=[])


@contextlib.contextmanager
def as_another_account(deployment: Deployment) -> Iterator[None]:
    """Calls are those of another account meanwhile."""
    printed = deployment.command("account", "create", "Mallory", "--email", "mallory@example.org", "--name", "Mallory")
    own = deployment.api.headers["Authorization"]
    deployment.api.headers["Authorization"] = f"Bearer {next(word for word in printed.split() if word[:3] == 'ar_')}"
    try:
        yield
    finally:
        deployment.api.headers["Authorization"] = own
