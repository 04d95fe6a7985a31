"""The shell as an agent: the prompt is a script. Use it for mechanical changes and for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from workers.agents import script
from workers.agents.base import Agent
from workers.agents.plain_output import PlainOutput
from workers.errors import EngineError
from workers.events import Event
from workers.job import Job
from workers.processes.lines import Line
from workers.sandbox import Place

SCRIPT = ".agent-runners/prompt.sh"


class ShellAgent(Agent):
    """Runs the prompt with `sh -e`, so that a command that fails ends the session."""

    name = "shell"
    merged = True
    converses = False

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.output = PlainOutput(job.secrets)
        self._reads_script = False

    def command(self, place: Place) -> Sequence[str]:
        self._reads_script = True
        return script.command(f"{place.home}/{SCRIPT}", self.given)

    def files(self, place: Place) -> Mapping[str, bytes]:
        return {SCRIPT: self.job.prompt.encode(errors="replace")}

    def stdin(self, place: Place, attachments: Sequence[str]) -> bytes | list[bytes]:
        # An agent that is based on this one may run another script, or a command of its own.
        return script.stdin(self.files(place)[SCRIPT], self.given) if self._reads_script else self.given

    @property
    def given(self) -> bytes:
        """What the script finds on its standard input."""
        return b""

    def parse(self, line: Line) -> Iterable[Event]:
        return self.output.feed(line.text)

    def tick(self, *, ended: bool = False) -> Iterable[Event]:
        return self.output.flush() if ended else self.output.tick()

    def verdict(self, status: int) -> EngineError | None:
        if status == 0:
            self.result = self.result or self.output.last_line
            return None
        how = f"was killed by signal {status - 128}" if status > 128 else f"ended with exit status {status}"
        message = f"The script {how}. {script.STOPS}\n{self.output.tail}"
        return EngineError("agent_failed", "agent", message.strip())
