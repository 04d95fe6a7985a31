"""Runs the commands of one attempt, setup and agent, and yields their output as events."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Sequence

from workers.egress.process import Egress
from workers.errors import EngineError, Stage
from workers.events import Event
from workers.job import Job
from workers.limits.budget import Budget
from workers.limits.cgroups import open_group
from workers.limits.command import running
from workers.limits.monitor import Monitor
from workers.processes.forking import Forked
from workers.processes.launch import Launch, prepare
from workers.processes.lines import Line
from workers.redaction import Redactor
from workers.stages.interruption import Interruption
from workers.stages.transcript import Transcript
from workers.workspace.workspace import Workspace, name_of

Events = Generator[Event, None, None]
Report = Callable[[Line | None, bool], Iterable[Event]]
"""Returns the events of a line of output; without a line, the events that are due; at the end, the remaining ones."""


class Commands:
    """The commands of one attempt share its budget, its limits on the machine, and one transcript.

    `egress` is their access to the network, if they have any. The processes of the first one start at once, and get ready
    while the workspace is prepared.
    """

    def __init__(self, job: Job, budget: Budget, redactor: Redactor, egress: Egress | None) -> None:
        self._job = job
        self._locks: Sequence[int] = ()
        self._budget = budget
        self._redactor = redactor
        self._egress = egress
        self._transcript = Transcript(job.limits, redactor)
        self._monitor: Monitor | None = None
        self._group = open_group(name_of(job), job.limits)
        self._prepared: Forked | None = self._prepare()

    def _prepare(self) -> Forked:
        return prepare(self._group.procs_files if self._group else ())

    def enter(self, workspace: Workspace) -> None:
        """Run in this workspace from now on."""
        self._locks = workspace.locks
        self._monitor = Monitor(self._job.limits, (workspace.checkout, workspace.home), self._group)

    def run(
        self,
        launch: Launch,
        stage: Stage,
        report: Report,
        interruption: Interruption,
        *,
        stdin: bytes | list[bytes] = b"",
        merged: bool,
    ) -> Generator[Event, None, int]:
        """Run one command to its end and return its exit status. Raises what `Process.lines` and `report` do."""
        assert self._monitor is not None
        failure: EngineError | None = None
        prepared, self._prepared = self._prepared or self._prepare(), None
        with (
            running(
                dataclasses.replace(launch, locks=self._locks),
                lifeline=self._job.lifeline,
                budget=self._budget,
                monitor=self._monitor,
                stage=stage,
                stdin=stdin,
                merged=merged,
                prepared=prepared,
            ) as process,
            interruption.reporting(process.kill),
        ):
            try:
                for line in process.lines():
                    yield from self._transcript.take(report(line and self._redactor.line(line), False))
                    yield from self._refusals()
                    yield from self._budget.warnings()
            except EngineError as error:
                failure = error
        yield from self._transcript.end_command(report(None, True))
        yield from self._refusals()
        if failure:
            raise failure
        if process.status:
            self._monitor.check_end(process.status, stage)
        return process.status or 0

    def finish(self) -> Events:
        """Report how much of the commands' output was left out."""
        yield from self._transcript.finish()

    def close(self) -> None:
        """End the processes that were not needed, and remove the control group."""
        if self._prepared is not None:
            self._prepared.connection.close()
        if self._group is not None:
            self._group.remove()

    def _refusals(self) -> Events:
        for refusal in self._egress.new_refusals() if self._egress else ():
            yield self._redactor.step(refusal)
