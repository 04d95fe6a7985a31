"""The port of the agents. An adapter knows one program: how it is called, and what it says."""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from workers.errors import EngineError
from workers.job import Event, Job, Usage
from workers.processes.lines import Line
from workers.sandbox import Place

log = logging.getLogger(__name__)

_ASK = "Answer the question below. Look around as you need to, but change no files: changes are thrown away.\n\n"
_TASK = "Here is the task:\n\n"


class Agent(ABC):
    """One run of an agent for one job.

    It is made before anything else is done for the job, so that a job which cannot run fails at once: the
    constructor raises EngineError `agent_not_installed`. `place` tells the paths inside the sandbox.
    """

    name: ClassVar[str]
    merged: ClassVar[bool] = False
    """Whether standard error comes in between the lines of standard output, in the order they were written."""
    variables: ClassVar[tuple[str, ...]] = ()
    """How the names of variables begin that are for this agent and no other, such as its keys."""
    key: ClassVar[str | None] = None
    """The variable that holds the key of its model provider, where it needs one."""
    provider: ClassVar[tuple[str, str] | None] = None
    """The variable that holds the address of its model provider, and the address where that is not set."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.runtime_paths: tuple[Path, ...] = ()
        """Host paths that must be readable inside the sandbox for the program to work."""
        self.result: str | None = None
        self.title: str | None = None
        self.usage: Usage | None = None
        self.finished = False
        """Whether it has said that its work is done."""

    @property
    def model_hosts(self) -> tuple[str, ...]:
        """`host:port` of its model provider, which is all that it has to reach."""
        if self.provider is None:
            return ()
        variable, usual = self.provider
        parts = urlsplit(self.job.environment.get(variable, usual))
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return (f"{host}:{parts.port or (80 if parts.scheme == 'http' else 443)}",)

    @classmethod
    def find_missing(cls) -> str | None:
        """What is missing on this machine for the agent to work, and how to get it; None where nothing is."""
        return None

    @abstractmethod
    def command(self, place: Place) -> Sequence[str]:
        """What to execute. Never the prompt, which may be too long for an argument and is nobody else's business."""

    def environment(self, place: Place) -> Mapping[str, str]:
        """Variables that the program needs besides those of the job."""
        return {}

    def files(self, place: Place) -> Mapping[str, bytes]:
        """Files to write before anything runs, by their path in the private home."""
        return {}

    def stdin(self, place: Place, attachments: Sequence[str]) -> bytes:
        """What the program reads. `attachments` are the names of the files at `place.attachments`."""
        return b""

    @abstractmethod
    def parse(self, line: Line) -> Iterable[Event]:
        """What one line of output means."""

    def tick(self, *, ended: bool = False) -> Iterable[Event]:
        """What was held back and is due. Called when the program is silent for a moment, and when it has ended."""
        return ()

    @abstractmethod
    def verdict(self, status: int) -> EngineError | None:
        """Whether it failed, judged after its end by all that it said and by its exit status."""


def prompt_with_attachments(job: Job, place: Place, attachments: Sequence[str]) -> bytes:
    """The prompt for a language model: it has to be told about the files that come with it, and about `ask`.

    Programs take a prompt that begins with `/`, and some with `!`, `#` or `@`, for a command of their own. They look at
    the first character only, so a line of words goes before every prompt that does not begin with a letter or digit.
    """
    prompt = job.prompt
    if job.mode == "ask":
        prompt = _ASK + prompt
    elif not prompt[:1].isalnum():
        prompt = _TASK + prompt
    if attachments:
        listed = "\n".join(f"- {place.attachments}/{name}" for name in attachments)
        prompt += f"\n\nThese files were attached to this request (read-only):\n{listed}\n"
    return prompt.encode(errors="replace")


@contextlib.contextmanager
def blaming_output() -> Iterator[None]:
    """What an adapter stumbles over is what the agent wrote, which is no reason to lose what it did.

    Raises EngineError `agent_failed` in the place of any other exception.
    """
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        log.exception("the output of an agent could not be understood")
        message = "The agent wrote something that could not be understood. The worker's log has the trace."
        raise EngineError("agent_failed", "agent", message) from error
