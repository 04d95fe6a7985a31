"""The setup command of a site. It prepares the checkout for the agent; its changes are not part of the diff.

What it left in an earlier session of the site is used again where nothing that it depends on has changed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from workers.agents import script
from workers.agents.base import Agent
from workers.agents.plain_output import PlainOutput
from workers.errors import EngineError
from workers.events import Event, Progress, Step
from workers.job import Host, Job
from workers.limits.budget import Budget
from workers.processes.lines import Line
from workers.redaction import Redactor
from workers.sandbox import Sandbox
from workers.stages import missing
from workers.stages.commands import Commands, Events
from workers.stages.interruption import Interruption
from workers.workspace import inputs
from workers.workspace.agent_repository import IDENTITY
from workers.workspace.kept_setups import KeptSetup
from workers.workspace.workspace import Workspace

_SCRIPT = ".agent-runners/setup.sh"


def set_up(
    job: Job,
    host: Host,
    workspace: Workspace,
    sandbox: Sandbox,
    commands: Commands,
    agent: Agent,
    interruption: Interruption,
    budget: Budget,
    redactor: Redactor,
) -> Generator[Event, None, list[str]]:
    """Write what the commands need and run the setup command. Returns the names of the attachments.

    Raises EngineError if a part of it fails.
    """
    files = agent.files(sandbox.place)
    early = files if job.allow_agent_configuration else {}
    inputs.write_home(workspace.home, {".gitconfig": IDENTITY.encode(), **early, **_files_of(job)})
    attachments = inputs.write_attachments(workspace.attachments, job.attachments, budget)
    inputs.set_owner(workspace, sandbox)
    kept = keep = None
    if job.setup_command:
        yield Progress("setup")
        kept = KeptSetup(job, host, workspace, budget, has_agent_files=bool(early))
        keep = kept.keep
        age = kept.restore()
        yield redactor.step(_begins(job, age))
        if age is None:
            try:
                yield from _run(job, sandbox, commands, interruption)
            except EngineError as failure:
                if job.conflict is None or failure.code != "setup_failed":
                    raise
                # It read files in which conflicts are marked. The agent can run what it needs when it has resolved them.
                keep = None
                yield redactor.step(Step("Setup failed before the conflicts were resolved", failure.message))
    workspace.after_setup(inputs.top_names(files), has_run=kept is not None, keep=keep)
    if kept and kept.not_kept:
        yield redactor.step(Step("Setup runs again in the next session", kept.not_kept))
    if not early:
        inputs.write_home(workspace.home, files)
        inputs.set_owner_of_files(workspace.home, files, sandbox)
    if step := missing.configuration(workspace):
        yield redactor.step(step)
    return attachments


def _files_of(job: Job) -> dict[str, bytes]:
    """The files that the setup command needs in the agent's home."""
    return {_SCRIPT: _script_of(job)} if job.setup_command else {}


def _script_of(job: Job) -> bytes:
    return (job.setup_command or "").encode()


def _begins(job: Job, age: float | None) -> Step:
    """The step that says that the command runs, or that what it left `age` seconds ago is used in place of that."""
    if age is None:
        return Step("Setup", job.setup_command or "", category="command")
    return Step("Setup used again", f"What it left {age / 60:,.0f} minutes ago is used:\n{job.setup_command}")


def _run(job: Job, sandbox: Sandbox, commands: Commands, interruption: Interruption) -> Events:
    """Run the setup command, without the agent's own variables. Raises EngineError `setup_failed`."""
    output = PlainOutput(job.secrets, "command")

    def report(line: Line | None, ended: bool) -> Iterable[Event]:
        return output.feed(line.text) if line else output.flush() if ended else output.tick()

    launch = sandbox.launch(script.command(f"{sandbox.place.home}/{_SCRIPT}"), job.setup_environment, stage="setup")
    stdin = script.stdin(_script_of(job))
    status = yield from commands.run(launch, "setup", report, interruption, stdin=stdin, merged=True)
    if status != 0:
        message = f"The setup command ended with exit status {status}. {script.STOPS}\n{output.tail}"
        raise EngineError("setup_failed", "setup", message.strip())
