"""The setup command of a site. It prepares the checkout for the agent; its changes are not part of the diff.

What it left in an earlier session of the site is used again where nothing that it depends on has changed.
"""

from __future__ import annotations

from collections.abc import Iterable

from workers.agents import script
from workers.agents.plain_output import PlainOutput
from workers.errors import EngineError
from workers.events import Event, Step
from workers.interruption import Interruption
from workers.job import Job
from workers.processes.lines import Line
from workers.sandbox import Sandbox
from workers.stages.commands import Commands, Events

_SCRIPT = ".agent-runners/setup.sh"


def setup_files(job: Job) -> dict[str, bytes]:
    """The files that the setup command needs in the agent's home."""
    return {_SCRIPT: job.setup_command.encode()} if job.setup_command else {}


def setup_step(job: Job, age: float | None) -> Step:
    """The step that says that the command runs, or that what it left `age` seconds ago is used in place of that."""
    if age is None:
        return Step("Setup", job.setup_command or "", category="command")
    return Step("Setup used again", f"What it left {age / 60:,.0f} minutes ago is used:\n{job.setup_command}")


def run_setup(job: Job, sandbox: Sandbox, commands: Commands, interruption: Interruption) -> Events:
    """Run the setup command, without the agent's own variables. Raises EngineError `setup_failed`."""
    output = PlainOutput(job.secrets, "command")

    def report(line: Line | None, ended: bool) -> Iterable[Event]:
        return output.feed(line.text) if line else output.flush() if ended else output.tick()

    launch = sandbox.launch(script.command(f"{sandbox.place.home}/{_SCRIPT}"), job.setup_environment, stage="setup")
    status = yield from commands.run(launch, "setup", report, interruption, merged=True)
    if status != 0:
        message = f"The setup command ended with exit status {status}. {script.STOPS}\n{output.tail}"
        raise EngineError("setup_failed", "setup", message.strip())
