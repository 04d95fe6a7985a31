"""What tests of whole attempts share: the engine on a host with one repository, and what an attempt said."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tests.workers.engine import MemorySink, job, repository
from tests.workers.repositories import furnish, know_sandbox
from workers.attempt import run
from workers.events import Event, Outcome, Step
from workers.job import Host, Job, Limits


@dataclass
class Attempt:
    """The events and the outcome of an attempt."""

    outcome: Outcome
    events: list[Event]

    @property
    def steps(self) -> list[str]:
        return [event.title for event in self.events if isinstance(event, Step)]

    @property
    def text(self) -> str:
        """The text of everything that would be stored."""
        return repr(self.events) + repr(self.outcome) + str(self.outcome.failure)


@dataclass
class Engine:
    """The engine on one host with one repository."""

    host: Host
    source: Path
    sink: MemorySink = field(default_factory=MemorySink)
    noticed: list[bool] = field(default_factory=list)

    def job(self, prompt: str, *, keep: bool = True, **more: object) -> Job:
        def on_interrupt() -> bool:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.noticed.append(keep)
            return keep

        know_sandbox(self.host)
        settings: dict[str, object] = {"repo_url": str(self.source), "sink": self.sink, "on_interrupt": on_interrupt}
        return job(prompt, **{**settings, **more})

    def run(self, prompt: str, **more: object) -> Attempt:
        return self.finish(self.job(prompt, **more))

    def finish(self, work: Job, on_event: Callable[[Event], None] = lambda event: None) -> Attempt:
        """Run a job to its end. `on_event` is called while the attempt stands still at an event."""
        if work.repo_url == str(self.source) and not work.partial_clone:
            furnish(self.host, self.source, work.site_id)
        events: list[Event] = []
        engine = run(work, self.host)
        while True:
            try:
                events.append(next(engine))
            except StopIteration as stop:
                return Attempt(stop.value, events)
            on_event(events[-1])

    def run_into(self, limit: str, prompt: str, *told: str, limits: Limits | None = None, **more: object) -> Attempt:
        """Run what goes on for ever into a limit on time, one that lasts long enough to get as far as steps that say `told`:
        on a slow machine a short one is over before."""
        for seconds in (6, 24, 120):
            self.sink.diffs.clear()
            attempt = self.run(prompt, limits=replace(limits or Limits(), **{limit: seconds}), **more)
            if all(any(each in step for step in attempt.steps) for each in told):
                break
        return attempt

    @property
    def diff(self) -> str:
        return self.sink.diffs["result"].decode()

    def is_clean(self) -> bool:
        """Whether no workspace is left."""
        return not list(self.host.work_dir.glob("workspaces/*"))


@contextlib.contextmanager
def engine_in(
    folder: Path, sandbox: str, files: Sequence[tuple[str, str]] = (("README", "hello\n"),)
) -> Iterator[Engine]:
    """An engine whose work folder lies below a private one, which the sandbox's user cannot enter."""
    (folder / "private").mkdir(mode=0o700)
    source = repository(folder / "repositories" / "one", files)
    kind: Literal["bubblewrap", "none"] = "bubblewrap" if sandbox == "bubblewrap" else "none"
    engine = Engine(Host(folder / "private" / "work", sandbox=kind, local_repositories=source.parent), source)
    before = signal.getsignal(signal.SIGTERM)
    yield engine
    # An interrupted attempt ignores the signal from then on, and so would all that later tests start.
    signal.signal(signal.SIGTERM, before)
    assert engine.is_clean()


def code(outcome: Outcome) -> tuple[str, str] | None:
    return (outcome.failure.code, outcome.failure.stage) if outcome.failure else None
