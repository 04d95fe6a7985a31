"""Runs the commands of one attempt, setup and agent, and yields their output as events."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable

from workers.egress.process import Egress
from workers.errors import EngineError, Stage
from workers.events import Event
from workers.job import Job
from workers.limits.budget import Budget
from workers.limits.cgroups import open_group
from workers.limits.command import running
from workers.limits.monitor import Monitor
from workers.processes.launch import Launch
from workers.processes.lines import Line
from workers.redaction import Redactor
from workers.stages.interruption import Interruption
from workers.stages.transcript import Transcript
from workers.workspace.workspace import Workspace

Events = Generator[Event, None, None]
Report = Callable[[Line | None, bool], Iterable[Event]]
"""Returns the events of a line of output; without a line, the events that are due; at the end, the remaining ones."""


class Commands:
    """The commands of one attempt share its budget, its limits on the machine, and one transcript.

    `egress` is their access to the network, if they have any.
    """

    def __init__(
        self, job: Job, workspace: Workspace, budget: Budget, redactor: Redactor, egress: Egress | None
    ) -> None:
        self._lifeline = job.lifeline
        self._locks = workspace.locks
        self._budget = budget
        self._redactor = redactor
        self._egress = egress
        self._transcript = Transcript(job.limits, redactor)
        self._group = open_group(workspace.root.name, job.limits)
        self._monitor = Monitor(job.limits, (workspace.checkout, workspace.home), self._group)

    def run(
        self,
        launch: Launch,
        stage: Stage,
        report: Report,
        interruption: Interruption,
        *,
        stdin: bytes = b"",
        merged: bool,
    ) -> Generator[Event, None, int]:
        """Run one command to its end and return its exit status. Raises what `Process.lines` and `report` do."""
        failure: EngineError | None = None
        with (
            running(
                dataclasses.replace(launch, groups=self._group.procs_files if self._group else (), locks=self._locks),
                lifeline=self._lifeline,
                budget=self._budget,
                monitor=self._monitor,
                stage=stage,
                stdin=stdin,
                merged=merged,
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
        """Remove the control group."""
        if self._group is not None:
            self._group.remove()

    def _refusals(self) -> Events:
        for refusal in self._egress.new_refusals() if self._egress else ():
            yield self._redactor.step(refusal)
