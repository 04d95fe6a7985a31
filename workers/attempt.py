"""One attempt at one session, from the bare checkout to the stored diffs. Read it from the top."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Generator, Sequence

from workers.agents.base import Agent
from workers.agents.questions import question_step, read_questions
from workers.agents.registry import open_agent
from workers.egress.process import Egress, open_egress
from workers.errors import FULL_DISK, BudgetNearlyUsed, EngineError, Interrupted, disk_full
from workers.events import BaseCommit, Event, Outcome, Progress, Recreation, Step
from workers.job import Host, Job
from workers.limits.budget import Budget
from workers.limits.spending import Spending
from workers.processes.lifeline import Lifeline
from workers.redaction import Redactor
from workers.repository.git import GitFailed
from workers.repository.mirror import Mirror
from workers.sandbox import Sandbox, check_works, describe, open_sandbox
from workers.stages import conversation, missing, wrap_up
from workers.stages.agent import run_agent
from workers.stages.commands import Commands, Events
from workers.stages.fallbacks import Succession
from workers.stages.interruption import Interruption
from workers.stages.model_calls import ModelCalls, open_model_calls
from workers.stages.network import network_rules
from workers.stages.rebase import merge_file, rebase
from workers.stages.saving import as_failure, not_saved, save_work
from workers.stages.setup import set_up
from workers.workspace.workspace import Workspace

log = logging.getLogger(__name__)

_ANEW = Recreation(
    "The worker's copy of the repository was recreated",
    "It was damaged, so the repository was fetched in full. If this happens again, check the worker's disk.",
)


def run(job: Job, host: Host) -> Generator[Event, None, Outcome]:
    """Run `job`: yield its events, write diffs to the job's sink and return the outcome.

    An EngineError ends the attempt with a failure; SystemExit and Interrupted end it as interrupted. The work so far is
    stored in the first case, and in the second if `job.on_interrupt` returns True. Any other exception is a bug in the
    engine and is raised. In each case no process and no workspace is left behind.
    """
    if job.mode != "rebase":
        return (yield from _run(job, host))
    with merge_file(host) as file:
        rebased = yield from rebase(job, host, file)
        return rebased if isinstance(rebased, Outcome) else (yield from _run(rebased, host))


def _run(job: Job, host: Host) -> Generator[Event, None, Outcome]:
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
        self._budget = Budget(job.limits, job.earlier.usage if job.earlier else None)
        self._redactor = Redactor(job.secrets)
        self._interruption = Interruption(job)
        self._agent: Agent | None = None
        self._egress: Egress | None = None
        self._calls: ModelCalls | None = None
        self._spending: Spending | None = None
        self._workspace: Workspace | None = None
        self._sandbox: Sandbox | None = None
        self._commands: Commands | None = None
        self._outcome = Outcome()
        self.failure: EngineError | None = None

    def work(self) -> Events:
        """Everything up to the end of the agent. Raises EngineError if a part of it fails."""
        job, host = self._job, self._host
        succession = Succession(job, host)
        agent = self._agent = succession.agents[0]
        check_works(host)
        rules = network_rules(job, host, succession.agents)
        calls = self._calls = open_model_calls(host, succession.agents, self._budget)
        self._spending = calls.spending if calls else None
        yield Step(f"Sandbox: {host.sandbox}", describe(host, rules["agent"], calls.hosts if calls else ()))
        if host.sandbox != "none":
            # The proxy starts while the workspace is prepared, and so do the processes of the first command.
            self._egress = open_egress(host, rules, calls.gateway if calls else None)
        commands = self._commands = Commands(job, self._budget, self._redactor, self._egress)
        yield Progress("fetching")
        mirror = Mirror(host, job.site_id, job.lifeline, self._budget, job.fetch_patience_seconds)
        base = mirror.obtain_base(job)
        default_branch = base.branch if job.branch is None else None
        if job.needs_default_branch:
            default_branch = default_branch or mirror.find_default_branch(job)
        if mirror.was_damaged:
            yield _ANEW
        yield Progress("preparing")
        # The mirror has the base now, so nothing is fetched again. `set_up` writes the attachments, under names
        # that are safe for any agent.
        based = dataclasses.replace(job, base_sha=base.sha, branch=base.branch, attachments=())
        workspace = self._workspace = yield from self._prepare(based, mirror)
        if step := missing.lfs_content(workspace):
            yield self._redactor.step(step)
        if not job.conflict:
            # A rebase that fails keeps the base that it had, unless it leaves a diff on the new one: see `_save`.
            self._outcome = Outcome(base_sha=workspace.base_sha)
            yield BaseCommit(workspace.base_sha, workspace.branch, default_branch)
        if step := missing.folders(workspace):
            yield self._redactor.step(step)
        commands.enter(workspace)
        sandbox = self._sandbox = open_sandbox(host, workspace, job.limits, self._egress)
        attachments = yield from set_up(
            job, host, workspace, sandbox, commands, agent, self._interruption, self._budget, self._redactor
        )
        if step := conversation.go_on(agent, job, workspace, sandbox):
            yield self._redactor.step(step)
        if step := missing.tools(agent):
            yield self._redactor.step(step)
        yield Progress("agent")
        yield from succession.steps

        def run_one(agent: Agent) -> Events:
            self._agent = agent
            try:
                yield from self._run(agent, workspace, sandbox, commands, attachments)
            except BudgetNearlyUsed as reached:
                yield from self._wrap_up(self._agent, workspace, sandbox, commands)
                raise reached

        yield from succession.run(run_one, workspace, sandbox, self._redactor)
        yield from self._ask(self._agent, workspace)

    def _ask(self, agent: Agent, workspace: Workspace) -> Events:
        """Show what the agent asks, and end with it if somebody may be asked."""
        asked = agent.questions or (read_questions(workspace.home) if agent.speaks_mcp else ())
        if questions := tuple(map(self._redactor.question, asked)):
            if self._job.may_ask:
                self._outcome = dataclasses.replace(self._outcome, questions=questions)
            yield question_step(questions, is_answered=self._job.may_ask)

    def _run(
        self, agent: Agent, workspace: Workspace, sandbox: Sandbox, commands: Commands, attachments: list[str]
    ) -> Events:
        """Run an agent: once more, and without its earlier session, if it refuses to resume that."""
        job, calls = self._job, self._calls
        shared = (self._interruption, self._budget, attachments, self._spending)
        try:
            yield from run_agent(agent, sandbox, commands, *shared)
        except EngineError as failure:
            if not conversation.has_refused(agent, failure):
                raise
            agent = self._agent = open_agent(job, self._host.acp_agents)
            if calls:
                calls.point(agent)
            yield self._redactor.step(conversation.begin_anew(agent, job, failure, workspace, sandbox))
            yield from run_agent(agent, sandbox, commands, *shared)

    def _wrap_up(self, before: Agent, workspace: Workspace, sandbox: Sandbox, commands: Commands) -> Events:
        """Have an agent that was ended leave a summary, with what is left of the budget."""
        yield wrap_up.STEP
        if before.usage:
            self._budget.begin_turn(before.usage, is_counted=bool(self._spending and self._spending.has_counted))
        for resumes in (True, False):
            last = self._agent = wrap_up.prepare(before, self._host, workspace, sandbox, resumes=resumes)
            try:
                yield from run_agent(last, sandbox, commands, self._interruption, self._budget, (), self._spending)
                break
            except EngineError as failure:
                if not conversation.has_refused(last, failure):
                    yield self._redactor.step(Step("The summary is not complete", failure.message))
                    break
        if last.session_id is None:
            last.session_id, last.totals = before.session_id, before.totals

    def _prepare(self, job: Job, mirror: Mirror) -> Generator[Event, None, Workspace]:
        """Prepare the workspace. The mirror is recreated if it turns out that it cannot be read."""
        try:
            return Workspace.prepare(job, self._host, self._budget)
        except GitFailed as failed:
            mirror.repair(job, failed)
            yield _ANEW
            return Workspace.prepare(job, self._host, self._budget)

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
            # A store that took no diff for so long takes nothing else.
            is_available = self.failure is None or self.failure.stage != "upload"
            if is_available and (step := self._keep_conversation()):
                yield self._redactor.step(step)

    def _store(self) -> Events:
        try:
            steps = self._save(complete=self.failure is None, lifeline=self._job.lifeline)
        except Exception as error:
            if self.failure is None:
                self.failure = as_failure(error)
                yield from self._store()
                return
            log.exception("the work of a failed attempt could not be saved")
            yield self._redactor.step(not_saved(error))
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
                self._keep_conversation()
            except Exception:
                log.exception("the work of an interrupted attempt could not be saved")

    def _save(self, *, complete: bool, lifeline: Lifeline | None = None) -> Sequence[Step]:
        if self._workspace is None:
            return ()
        saved = save_work(self._job, self._workspace, complete=complete, lifeline=lifeline)
        has_new_base = complete or saved.written.cumulative
        self._outcome = dataclasses.replace(
            self._outcome,
            base_sha=self._workspace.base_sha if has_new_base else self._outcome.base_sha,
            has_result_diff=saved.written.result,
            has_cumulative_diff=saved.written.cumulative,
            saved=True,
        )
        return saved.steps

    def _keep_conversation(self) -> Step | None:
        """Store what the agent remembers, for a follow-up. Returns the step that says why it was not stored."""
        if not (self._agent and self._workspace and self._sandbox and self._workspace.is_set_up):
            return None
        if self._agent.name != self._job.agent:
            # A follow-up would continue with the session's own agent, which does not know this one's conversation.
            return None
        session_id, step = conversation.keep(self._agent, self._job, self._workspace, self._sandbox)
        version = self._agent.find_version()
        self._outcome = dataclasses.replace(self._outcome, session_id=session_id, agent_version=version)
        return step

    def dispose(self) -> None:
        """End the proxy and the gateway, and remove the workspace. The sweep removes it if this fails."""
        egress, self._egress = self._egress, None
        calls, self._calls = self._calls, None
        if egress is not None:
            egress.close()
        if calls is not None:
            calls.gateway.close()
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
            usage = self._spending.usage(agent.usage) if self._spending else agent.usage
            total = self._budget.total(usage) if usage else None
            outcome = dataclasses.replace(outcome, result=agent.result, title=agent.title, usage=total)
        return self._redactor.outcome(outcome)
