"""Runs mini-swe-agent, and prints what it says and does as JSON, one object a line. Its own command prints no such stream.

It runs inside the sandbox with the Python of mini-swe-agent, and imports nothing of ours. The task is on standard input.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# A build or a test takes longer than the 30 seconds that are usual there.
_COMMAND_SECONDS = 600


def main(model: str, cost_limit: str) -> None:
    """Work on the task with `model`, for at most `cost_limit` US dollars; 0: no limit."""
    import yaml
    from minisweagent.agents.default import DefaultAgent
    from minisweagent.config import builtin_config_dir
    from minisweagent.environments.local import LocalEnvironment
    from minisweagent.models.litellm_model import LitellmModel

    class Reporting(DefaultAgent):
        def add_messages(self, *messages: dict[str, Any]) -> list[dict[str, Any]]:
            # The first two are its instructions and the task.
            for message in messages if self.messages else ():
                print(json.dumps(_report(message, self.cost)), flush=True)
            return list(super().add_messages(*messages))

    config = yaml.safe_load((builtin_config_dir / "mini.yaml").read_text())
    templates = {name: config["agent"][name] for name in ("system_template", "instance_template")}
    own = {**config.get("model", {}), "model_name": model}
    environment = LocalEnvironment(**{**config.get("environment", {}), "timeout": _COMMAND_SECONDS})
    task = sys.stdin.buffer.read().decode(errors="replace")
    Reporting(LitellmModel(**own), environment, **templates, cost_limit=float(cost_limit)).run(task)


def _report(message: dict[str, Any], cost: float) -> dict[str, Any]:
    extra = message.get("extra") or {}
    response = extra.get("response")
    usage = response.get("usage") if isinstance(response, dict) else None
    report = {name: message.get(name) for name in ("role", "content", "tool_call_id")}
    kept = {name: extra.get(name) for name in ("actions", "raw_output", "returncode", "exit_status", "exception_info")}
    return {**report, **kept, "usage": usage, "cost": cost}


if __name__ == "__main__":
    main(*sys.argv[1:])
