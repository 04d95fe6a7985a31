"""One attempt at one session, from the bare checkout to the stored diffs. Read it from the top."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

from workers.agents import Agent, open_agent
from workers.agents.base import blaming_output
from workers.agents.chatter import Chatter
from workers.egress.process import Egress, open_egress
from workers.egress.rules import Rule
from workers.errors import FULL_DISK, EngineError, Interrupted, Stage, disk_full
from workers.interruption import Interruption
from workers.job import Based, Event, Host, Job, Outcome, Step, Usage
from workers.limits.budget import Budget
from workers.limits.cgroups import Group, open_group
from workers.limits.command import running
from workers.limits.monitor import Watch
from workers.processes.launch import Launch
from workers.processes.lifeline import Lifeline
from workers.processes.lines import Line
from workers.redaction import Redactor
from workers.sandbox import Sandbox, describe, open_sandbox, probe
from workers.stages.saving import as_failure, save_work
from workers.transcript import Transcript
from workers.workspace import inputs
from workers.workspace.workspace import Workspace

log = logging.getLogger(__name__)

Events = Generator[Event, None, None]
Hear = Callable[[Line | None, bool], Iterable[Event]]
"""What a line of output means; without a line, what is due now; and what is left when the command has ended."""

_NAMED = 100
_SETUP_SCRIPT = ".agent-runners/setup.sh"


def run(job: Job, host: Host) -> Generator[Event, None, Outcome]:
    """Work on `job`: yield what happens, write diffs to the job's sink and return how it ended.

    An EngineError ends the attempt with a failure, SystemExit and Interrupted end it as interrupted; what was done so
    far is stored in the first case, and in the second if `job.on_interrupt` wants it. Every other exception is a fault
    of the engine and is raised. In each case no process and no workspace is left behind.
    """
    attempt = _Attempt(job, host)
    try:
        try:
            yield from attempt.work()
        except EngineError as failure:
            attempt.failure = failure
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            attempt.failure = disk_full("checkout")
        yield from attempt.end_network()
        yield from attempt.end_transcript()
        yield from attempt.store()
        attempt.dispose()
    except (SystemExit, Interrupted):
        attempt.end_interrupted()
    finally:
        attempt.dispose()
    return attempt.outcome()


class _Attempt:
    def __init__(self, job: Job, host: Host) -> None:
        self._job = job
        self._host = host
        self._budget = Budget(job.limits)
        self._redactor = Redactor(job.secrets)
        self._transcript = Transcript(job.limits, self._redactor)
        self._interruption = Interruption(job)
        self._agent: Agent | None = None
        self._workspace: Workspace | None = None
        self._group: Group | None = None
        self._watch: Watch | None = None
        self._egress: Egress | None = None
        self._set_up = False
        self._outcome = Outcome()
        self.failure: EngineError | None = None

    def work(self) -> Events:
        """Everything up to the end of the agent. Raises EngineError where it does not come to a good one."""
        agent = self._agent = open_agent(self._job)
        self._check_sandbox()
        rules = _rules(self._job, self._host, agent)
        yield Step(f"Sandbox: {self._host.sandbox}", describe(self._host, rules["agent"]))
        if self._host.sandbox != "none":
            # It gets ready while the workspace is made.
            self._egress = open_egress(self._host, rules)
        # The attachments are written by `_furnish`, under names that suit any agent.
        workspace = self._workspace = Workspace.prepare(
            dataclasses.replace(self._job, attachments=()), self._host, self._budget
        )
        self._outcome = Outcome(base_sha=workspace.base_sha)
        yield Based(workspace.base_sha, workspace.branch)
        self._group = open_group(workspace.root.name, self._job.limits)
        self._watch = Watch(self._job.limits, (workspace.checkout, workspace.home), self._group)
        sandbox = open_sandbox(self._host, workspace, self._job.limits, self._egress)
        files, may_be_changed = agent.files(sandbox.place), self._job.allow_agent_configuration
        attachments = self._furnish(workspace, sandbox, files if may_be_changed else {})
        yield from self._run_setup(sandbox)
        workspace.after_setup(inputs.tops(files))
        self._set_up = True
        if not may_be_changed:
            inputs.write_home(workspace.home, files)
            inputs.hand_over_home(workspace.home, files, sandbox)
        if withheld := workspace.withheld:
            message = "\n".join(withheld[:_NAMED])
            yield self._fit(Step("Not in effect, since the site does not allow it: configuration of agents", message))
        yield from self._run_agent(sandbox, agent, attachments)

    def _check_sandbox(self) -> None:
        finding = probe(self._host)
        if not finding.ok:
            raise EngineError("sandbox_unavailable", "setup", f"{finding.reason} {finding.remedy}")

    def _furnish(self, workspace: Workspace, sandbox: Sandbox, files: Mapping[str, bytes]) -> list[str]:
        setup = {_SETUP_SCRIPT: self._job.setup_command.encode()} if self._job.setup_command else {}
        inputs.write_home(workspace.home, {**files, **setup})
        names = inputs.write_attachments(workspace.attachments, self._job.attachments, self._budget)
        inputs.hand_over(workspace, sandbox)
        return names

    def _run_setup(self, sandbox: Sandbox) -> Events:
        """Run the setup command, without the variables that are for the agent alone."""
        if not self._job.setup_command:
            return
        yield self._fit(Step("Setup", self._job.setup_command))
        chatter = Chatter(self._job.secrets)

        def hear(line: Line | None, ended: bool) -> Iterable[Event]:
            return chatter.hear(line.text) if line else chatter.flush() if ended else chatter.tick()

        launch = sandbox.launch(["sh", "-e", f"{sandbox.place.home}/{_SETUP_SCRIPT}"], {}, stage="setup")
        status = yield from self._run_command(launch, "setup", hear, merged=True)
        if status != 0:
            message = f"The setup command ended with exit status {status}.\n{chatter.tail}"
            raise EngineError("setup_failed", "setup", message.strip())

    def _run_agent(self, sandbox: Sandbox, agent: Agent, attachments: list[str]) -> Events:
        def hear(line: Line | None, ended: bool) -> Iterable[Event]:
            with blaming_output():
                for event in agent.parse(line) if line else agent.tick(ended=ended):
                    yield event
                    if isinstance(event, Usage):
                        yield from self._budget.spend(event, "agent", is_done=agent.finished)

        environment = {**agent.job.environment, **agent.environment(sandbox.place)}
        launch = sandbox.launch(agent.command(sandbox.place), environment, agent.runtime_paths)
        stdin = agent.stdin(sandbox.place, attachments)
        status = yield from self._run_command(launch, "agent", hear, stdin=stdin, merged=agent.merged)
        with blaming_output():
            failure = agent.verdict(status)
        if failure:
            raise failure

    def _run_command(
        self, launch: Launch, stage: Stage, hear: Hear, *, stdin: bytes = b"", merged: bool
    ) -> Generator[Event, None, int]:
        failure: EngineError | None = None
        watch, workspace, group = self._watch, self._workspace, self._group
        assert watch and workspace
        with (
            running(
                dataclasses.replace(launch, groups=group.entrances if group else (), locks=workspace.locks),
                lifeline=self._job.lifeline,
                budget=self._budget,
                watch=watch,
                stage=stage,
                stdin=stdin,
                merged=merged,
            ) as process,
            self._interruption.noticed(),
        ):
            try:
                for line in process.lines():
                    yield from self._transcript.take(hear(line and self._redactor.line(line), False))
                    yield from self._refused()
                    yield from self._budget.warnings()
            except EngineError as error:
                failure = error
        yield from self._transcript.end_command(hear(None, True))
        yield from self._refused()
        if failure:
            raise failure
        if process.status:
            watch.check_end(process.status, stage)
        return process.status or 0

    def _refused(self) -> Events:
        for refusal in self._egress.heard() if self._egress else ():
            yield self._fit(refusal)

    def end_network(self) -> Events:
        """End the proxy, and tell what it refused more than once."""
        for refusal in self._egress.finish() if self._egress else ():
            yield self._fit(refusal)

    def end_transcript(self) -> Events:
        """Tell how much of what the commands told was left out."""
        yield from self._transcript.finish()

    def store(self) -> Events:
        """Write the diffs. A failure of the work itself, if there was one, stays the failure of the attempt."""
        try:
            steps = self._save(all_of_it=self.failure is None, lifeline=self._job.lifeline)
        except Exception as error:
            if self.failure is None:
                self.failure = as_failure(error)
                yield from self.store()
                return
            log.exception("the work of a failed attempt could not be saved")
            return
        for step in steps:
            yield self._fit(step)

    def end_interrupted(self) -> None:
        """Save the work if it is wanted. Nobody listens to steps any more."""
        keep = self._interruption.notice()
        self._outcome = dataclasses.replace(self._outcome, interrupted=True)
        if keep:
            try:
                self._save(all_of_it=False)
            except Exception:
                log.exception("the work of an interrupted attempt could not be saved")

    def _save(self, *, all_of_it: bool, lifeline: Lifeline | None = None) -> Sequence[Step]:
        if self._workspace is None:
            return ()
        saved = save_work(self._job, self._workspace, began=self._set_up, all_of_it=all_of_it, lifeline=lifeline)
        self._outcome = dataclasses.replace(
            self._outcome, has_result_diff=saved.written.result, has_cumulative_diff=saved.written.cumulative
        )
        return saved.steps

    def dispose(self) -> None:
        """End the proxy and remove the workspace. What cannot be removed is left to the sweep."""
        egress, self._egress = self._egress, None
        if egress is not None:
            egress.close()
        group, self._group = self._group, None
        workspace, self._workspace = self._workspace, None
        if group is not None:
            group.remove()
        if workspace is not None:
            try:
                workspace.dispose()
            except Exception:
                log.exception("a workspace could not be removed")

    def outcome(self) -> Outcome:
        """How it ended, with what the agent said last."""
        outcome = dataclasses.replace(self._outcome, failure=self.failure)
        if agent := self._agent:
            outcome = dataclasses.replace(outcome, result=agent.result, title=agent.title, usage=agent.usage)
        return self._redactor.outcome(outcome)

    def _fit(self, step: Step) -> Step:
        return self._redactor.step(step)


def _rules(job: Job, host: Host, agent: Agent) -> dict[Stage, list[Rule]]:
    """What each stage may reach. What the operator named may be anywhere, what a site named only where it is public."""
    site = [Rule.parse(text, private=host.allow_private_addresses) for text in job.egress_hosts]
    site += [Rule.parse(text, private=True) for text in host.egress_hosts]
    return {"setup": site, "agent": [*site, *(Rule.parse(text, private=True) for text in agent.model_hosts)]}
