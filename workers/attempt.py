"""One attempt at one session, from the bare checkout to the stored diffs. Read it from the top."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Generator, Sequence

from workers.agents.base import Agent
from workers.agents.registry import open_agent
from workers.egress.process import Egress, open_egress
from workers.egress.rules import Rule
from workers.errors import FULL_DISK, EngineError, Interrupted, Stage, disk_full
from workers.interruption import Interruption
from workers.job import BaseCommit, Event, Host, Job, Outcome, Progress, Step
from workers.limits.budget import Budget
from workers.processes.lifeline import Lifeline
from workers.redaction import Redactor
from workers.repository.git import GitFailed
from workers.repository.mirror import Mirror
from workers.sandbox import Sandbox, describe, open_sandbox, probe
from workers.stages.agent import run_agent
from workers.stages.commands import Commands, Events
from workers.stages.saving import as_failure, save_work
from workers.stages.setup import run_setup, setup_files, setup_step
from workers.workspace import inputs
from workers.workspace.agent_repository import IDENTITY
from workers.workspace.kept_setups import KeptSetup
from workers.workspace.workspace import Workspace

log = logging.getLogger(__name__)

_NAMED = 100
_ANEW = Step(
    "The worker's copy of the repository was made anew",
    "It was damaged, so the repository was fetched in full. If this happens again, check the worker's disk.",
)


def run(job: Job, host: Host) -> Generator[Event, None, Outcome]:
    """Run `job`: yield its events, write diffs to the job's sink and return the outcome.

    An EngineError ends the attempt with a failure; SystemExit and Interrupted end it as interrupted. The work so far is
    stored in the first case, and in the second if `job.on_interrupt` returns True. Any other exception is a bug in the
    engine and is raised. In each case no process and no workspace is left behind.
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
        yield from attempt.end_commands()
        yield from attempt.store()
        attempt.dispose()
    except (SystemExit, Interrupted):
        attempt.end_interrupted()
    finally:
        attempt.dispose()
    return attempt.outcome()


class _Attempt:
    """The resources of an attempt, so that they are released however the attempt ends."""

    def __init__(self, job: Job, host: Host) -> None:
        self._job = job
        self._host = host
        self._budget = Budget(job.limits)
        self._redactor = Redactor(job.secrets)
        self._interruption = Interruption(job)
        self._agent: Agent | None = None
        self._egress: Egress | None = None
        self._workspace: Workspace | None = None
        self._commands: Commands | None = None
        self._agent_began = False
        self._outcome = Outcome()
        self.failure: EngineError | None = None

    def work(self) -> Events:
        """Everything up to the end of the agent. Raises EngineError if a part of it fails."""
        job, host = self._job, self._host
        agent = self._agent = open_agent(job, host.acp_agents)
        _check_sandbox(host)
        rules = _network_rules(job, host, agent)
        yield Step(f"Sandbox: {host.sandbox}", describe(host, rules["agent"]))
        if host.sandbox != "none":
            # The proxy starts while the workspace is prepared.
            self._egress = open_egress(host, rules)
        yield Progress("fetching")
        mirror = Mirror(host, job.site_id, job.lifeline, self._budget)
        base = mirror.obtain_base(job)
        default_branch = base.branch if job.branch is None else None
        if job.needs_default_branch:
            default_branch = default_branch or mirror.find_default_branch(job)
        if mirror.was_damaged:
            yield _ANEW
        yield Progress("preparing")
        # The mirror has the base now, so nothing is fetched again. `_set_up` writes the attachments, under names
        # that are safe for any agent.
        based = dataclasses.replace(job, base_sha=base.sha, branch=base.branch, attachments=())
        workspace = self._workspace = yield from self._prepare(based, mirror)
        self._outcome = Outcome(base_sha=workspace.base_sha)
        yield BaseCommit(workspace.base_sha, workspace.branch, default_branch)
        commands = self._commands = Commands(job, workspace, self._budget, self._redactor, self._egress)
        sandbox = open_sandbox(host, workspace, job.limits, self._egress)
        attachments = yield from self._set_up(workspace, sandbox, commands, agent)
        yield Progress("agent")
        yield from run_agent(agent, sandbox, commands, self._interruption, self._budget, attachments)

    def _prepare(self, job: Job, mirror: Mirror) -> Generator[Event, None, Workspace]:
        """Prepare the workspace. The mirror is made anew if it turns out that it cannot be read."""
        try:
            return Workspace.prepare(job, self._host, self._budget)
        except GitFailed as failed:
            mirror.repair(job, failed)
            yield _ANEW
            return Workspace.prepare(job, self._host, self._budget)

    def _set_up(
        self, workspace: Workspace, sandbox: Sandbox, commands: Commands, agent: Agent
    ) -> Generator[Event, None, list[str]]:
        """Write what the commands need and run the setup command. Returns the names of the attachments."""
        job = self._job
        files = agent.files(sandbox.place)
        early = files if job.allow_agent_configuration else {}
        inputs.write_home(workspace.home, {".gitconfig": IDENTITY.encode(), **early, **setup_files(job)})
        attachments = inputs.write_attachments(workspace.attachments, job.attachments, self._budget)
        inputs.set_owner(workspace, sandbox)
        kept = None
        if job.setup_command:
            yield Progress("setup")
            kept = KeptSetup(job, self._host, workspace, self._budget, has_agent_files=bool(early))
            age = kept.restore()
            yield self._redactor.step(setup_step(job, age))
            if age is None:
                yield from run_setup(job, sandbox, commands, self._interruption)
        workspace.after_setup(inputs.top_names(files), has_run=kept is not None, keep=kept.keep if kept else None)
        self._agent_began = True
        if kept and kept.not_kept:
            yield self._redactor.step(Step("Setup runs again in the next session", kept.not_kept))
        if not early:
            inputs.write_home(workspace.home, files)
            inputs.set_owner_of_files(workspace.home, files, sandbox)
        if withheld := workspace.withheld:
            message = "\n".join(withheld[:_NAMED])
            title = "Agent configuration not used, because allow_agent_configuration is off for the site"
            yield self._redactor.step(Step(title, message))
        return attachments

    def end_commands(self) -> Events:
        """End the proxy; report what it refused more than once, and how much output was left out."""
        for refusal in self._egress.finish() if self._egress else ():
            yield self._redactor.step(refusal)
        if self._commands:
            yield from self._commands.finish()

    def store(self) -> Events:
        """Write the diffs. If the work itself failed, that stays the failure of the attempt."""
        if self._workspace is not None:
            yield Progress("saving")
            yield from self._store()

    def _store(self) -> Events:
        try:
            steps = self._save(complete=self.failure is None, lifeline=self._job.lifeline)
        except Exception as error:
            if self.failure is None:
                self.failure = as_failure(error)
                yield from self._store()
                return
            log.exception("the work of a failed attempt could not be saved")
            return
        for step in steps:
            yield self._redactor.step(step)

    def end_interrupted(self) -> None:
        """Save the work if `job.on_interrupt` wants it. Steps are no longer recorded."""
        keep = self._interruption.report()
        self._outcome = dataclasses.replace(self._outcome, interrupted=True)
        if keep:
            try:
                self._save(complete=False)
            except Exception:
                log.exception("the work of an interrupted attempt could not be saved")

    def _save(self, *, complete: bool, lifeline: Lifeline | None = None) -> Sequence[Step]:
        if self._workspace is None:
            return ()
        saved = save_work(self._job, self._workspace, began=self._agent_began, complete=complete, lifeline=lifeline)
        self._outcome = dataclasses.replace(
            self._outcome, has_result_diff=saved.written.result, has_cumulative_diff=saved.written.cumulative
        )
        return saved.steps

    def dispose(self) -> None:
        """End the proxy and remove the workspace. The sweep removes it if this fails."""
        egress, self._egress = self._egress, None
        if egress is not None:
            egress.close()
        commands, self._commands = self._commands, None
        workspace, self._workspace = self._workspace, None
        if commands is not None:
            commands.close()
        if workspace is not None:
            try:
                # After a failure or a stop, a process may still write to it.
                workspace.dispose(reusable=self.failure is None and not self._outcome.interrupted)
            except Exception:
                log.exception("a workspace could not be removed")

    def outcome(self) -> Outcome:
        """The outcome, with the agent's result, title and usage."""
        outcome = dataclasses.replace(self._outcome, failure=self.failure)
        if agent := self._agent:
            outcome = dataclasses.replace(outcome, result=agent.result, title=agent.title, usage=agent.usage)
        return self._redactor.outcome(outcome)


def _check_sandbox(host: Host) -> None:
    finding = probe(host)
    if not finding.ok:
        raise EngineError("sandbox_unavailable", "setup", f"{finding.reason} {finding.remedy}")


def _network_rules(job: Job, host: Host, agent: Agent) -> dict[Stage, list[Rule]]:
    """The hosts that each stage may reach. Hosts set by the operator may be private. Those set by a site must be public,
    unless the operator allows private addresses."""
    site = [Rule.parse(text, private=host.allow_private_addresses) for text in job.egress_hosts]
    site += [Rule.parse(text, private=True) for text in host.egress_hosts]
    return {"setup": site, "agent": [*site, *(Rule.parse(text, private=True) for text in agent.model_hosts)]}
