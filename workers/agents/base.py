"""The interface of agent adapters. An adapter knows one program: how to run it, and what its output means."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from workers.agents.conflicts import resolution_of
from workers.egress.gateway.providers import ApiName, Provider, host_of
from workers.errors import EngineError
from workers.events import Event, Question, Usage
from workers.job import Job
from workers.processes.lines import Line
from workers.sandbox import Place

log = logging.getLogger(__name__)

_REMEMBERED = 40
_ASK = "Answer the question below. Look around as you need to, but change no files: changes are thrown away.\n\n"
_PLAN = (
    "Make a plan for the task below, and do not carry it out. Look around as you need to, but change no files: changes are "
    "thrown away. Your final answer is the plan, complete by itself: what to change in which files, in which order, how to "
    "check it, and what is open. Somebody reads it, and may then ask you to carry it out.\n\n"
)
_TASK = "Here is the task:\n\n"

ConversationFiles = Sequence[tuple[str, str]]
"""Folders of the private home, and for each the pattern (`fnmatch`) of the files below it. The folders may have other
names in a follow-up, but come in the same order."""


class Agent(ABC):
    """One run of an agent for one job.

    It is created before anything else is done for the job, so that a job that cannot run fails at once: the
    constructor raises EngineError `agent_not_installed`. `place` has the paths inside the sandbox.
    """

    name: ClassVar[str]
    merged: ClassVar[bool] = False
    """Whether standard error is merged into standard output, in the order of writing."""
    variables: ClassVar[tuple[str, ...]] = ()
    """Prefixes of variables that only this agent gets, such as its keys."""
    key: ClassVar[str | None] = None
    """The variable with the key of its model provider, if it needs one."""
    provider: ClassVar[tuple[str, str] | None] = None
    """The variable with the URL of its model provider, and the default URL."""
    api: ClassVar[ApiName | None] = None
    """The API that it calls its model by, if it can be pointed at the gateway by the variable of `provider`."""
    other_keys: ClassVar[tuple[str, ...]] = ()
    """Variables that it takes a key from instead of `key`."""
    logins: ClassVar[tuple[str, ...]] = ()
    """Variables with a login of the program's own, which only its provider takes. They are used where there is no key."""
    converses: ClassVar[bool] = True
    """Whether it can be given earlier sessions in words. A script cannot."""

    speaks_mcp: ClassVar[bool] = False
    """Whether it is given the servers of `tool_servers`, such as the one by which it asks a person."""

    can_disable_tools: ClassVar[bool] = True
    """Whether certain tools of these servers can be forbidden."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.runtime_paths: tuple[Path, ...] = ()
        """Host paths that must be readable inside the sandbox for the program to work."""
        self.result: str | None = None
        self.title: str | None = None
        self.usage: Usage | None = None
        self.did: deque[str] = deque(maxlen=_REMEMBERED)
        """The titles of its last steps."""
        self.finished = False
        """Whether it has reported that its work is done."""
        self.questions: tuple[Question, ...] = ()
        """What it has reported that it wants to know, if it does not use the tool `ask`."""
        self.session_id: str | None = None
        """Its own id of its session, once it has begun one, or has gone on with the one that it `resumes`."""
        self.resumes: str | None = None
        """The id of the earlier session that it is to continue. Its files are in place then."""
        self.earlier_totals: Mapping[str, int] = {}
        """The `totals` of the session that it `resumes`."""
        self.totals: dict[str, int] = {}
        """What it counts across all parts of a session."""

    @property
    def model_hosts(self) -> tuple[str, ...]:
        """`host:port` of its model provider, the only host that it must reach."""
        if self.provider is None:
            return ()
        variable, usual = self.provider
        return (host_of(self.job.environment.get(variable, usual)),)

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The providers whose place the gateway takes, so that the agent needs neither their hosts nor their keys.

        None without a key and a URL: then the program has a login of its own, or says that it has none.
        """
        if self.api is None or self.provider is None or self.key is None:
            return ()
        given, (variable, usual) = self.job.environment, self.provider
        keys = {name: given[name] for name in (self.key, *self.other_keys) if name in given}
        if not keys and (variable not in given or any(name in given for name in self.logins)):
            return ()
        return (Provider(self.api, variable, given.get(variable, usual), keys or {self.key: ""}),)

    @classmethod
    def find_missing(cls) -> str | None:
        """What is missing on this host for the agent, and how to install it. None if nothing is missing."""
        return None

    @classmethod
    def find_version(cls) -> str | None:
        """The version of its program on this host, where that is known without running it."""
        return None

    @abstractmethod
    def command(self, place: Place) -> Sequence[str]:
        """The command line. It never has the prompt, which may be too long, and would be visible to other processes."""

    def environment(self, place: Place) -> Mapping[str, str]:
        """Variables that the program needs besides those of the job."""
        return {}

    def files(self, place: Place) -> Mapping[str, bytes]:
        """Files to write before anything runs, by their path in the private home."""
        return {}

    def conversation_files(self, place: Place, session_id: str) -> ConversationFiles:
        """The files in which it remembers that session. Empty if it cannot resume one."""
        return ()

    def hand_over(self, words: str) -> None:
        """Give it earlier sessions, which it does not remember, in words."""
        self.job = dataclasses.replace(self.job, prompt=f"{words}{self.job.prompt}")

    def wrap_up(self, request: str) -> None:
        """Give it a request for a summary in the place of its task."""
        self.job = dataclasses.replace(self.job, prompt=request, mode="normal")

    def stdin(self, place: Place, attachments: Sequence[str]) -> bytes | list[bytes]:
        """The program's standard input, see `limits.command.running`. `attachments` are the names of the files at
        `place.attachments`."""
        return b""

    @abstractmethod
    def parse(self, line: Line) -> Iterable[Event]:
        """The events of one line of output."""

    def tick(self, *, ended: bool = False) -> Iterable[Event]:
        """Delayed events that are due. Called after a moment without output, and when the program has ended."""
        return ()

    @abstractmethod
    def verdict(self, status: int) -> EngineError | None:
        """The failure, if it failed. Called at its end; decided from all of its output and its exit status."""


def prompt_with_attachments(job: Job, place: Place, attachments: Sequence[str]) -> bytes:
    """The prompt for a language model, with the paths of the attached files and an instruction for modes ask and plan.

    Programs treat a prompt that starts with `/`, and some with `!`, `#` or `@`, as a command of their own. They check
    only the first character, so a line of text precedes every prompt that does not start with a letter or digit.
    """
    prompt = job.prompt
    if job.conflict:
        prompt = f"{resolution_of(job.conflict)}\n\n{prompt}"
    if job.mode != "normal":
        prompt = (_ASK if job.mode == "ask" else _PLAN) + prompt
    elif not prompt[:1].isalnum():
        prompt = _TASK + prompt
    if attachments:
        listed = "\n".join(f"- {place.attachments}/{name}" for name in attachments)
        prompt += f"\n\nThese files were attached to this request (read-only):\n{listed}\n"
    return prompt.encode(errors="replace")


def chosen_model(job: Job, label: str, variable: str) -> str:
    """The model of the session, or else that of `variable`, for an agent that has no default of its own.

    Raises EngineError `agent_failed`.
    """
    model = job.model or job.environment.get(variable)
    if not model:
        message = (
            f"{label} needs the name of a model. Name it as `model` of the session or `default_model` of the site, or "
            f"set {variable} for all sessions."
        )
        raise EngineError("agent_failed", "agent", message)
    return model


@contextlib.contextmanager
def parsing_output() -> Iterator[None]:
    """Raise EngineError `agent_failed` in place of any other exception of an adapter.

    Such an exception is caused by the agent's output, and must not lose the agent's work as a bug of ours would.
    """
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        log.exception("the output of an agent could not be parsed")
        message = (
            "The agent's output could not be parsed. Check that its version is supported; the worker's log has the "
            "traceback."
        )
        raise EngineError("agent_failed", "agent", message) from error
