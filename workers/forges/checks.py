"""The port for checks of commits, which run on or beside a forge. See `workers/forges/base.py`."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.forges.quotation import NOTE, check_texts, plain, quoted

MOST_LOGS = 3
"""Of how many failed checks the logs are read."""
_MOST_CHECKS, _SUMMARY_CHARACTERS = 15, 1_500
_LOG_LINES, _LOG_CHARACTERS = 150, 8_000
# Actions begins each line with a time, and marks the errors that it found.
_TIME = re.compile(r"^\ufeff?\d{4}-\d\d-\d\dT[\d:.]+Z ?", re.MULTILINE)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# GitLab marks the parts of a log: https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections
_SECTION = re.compile(r"section_(?:start|end):\d+:[^\r\n]*\r")
_ERROR = "##[error]"


class Outcome(enum.Enum):
    PASSED = "passed"
    """Or it was left out, or cancelled: it says nothing against the commit."""
    FAILED = "failed"
    RUNNING = "running"
    STALLED = "stalled"
    """It has no result, and does not get one by itself: a person has to act, or the forge has given it up."""


@dataclass(frozen=True)
class Check:
    """One check of a commit, as the forge shows it."""

    name: str
    outcome: Outcome
    summary: str = ""
    url: str = ""
    log_id: str | None = None
    """For `read_log`. None: the forge has no log of it."""

    def __post_init__(self) -> None:
        check_texts(self.name, self.summary, self.url, self.log_id or "")


@dataclass(frozen=True)
class Failure:
    """A check that failed, with the part of its log that says why, as far as there is one."""

    check: Check
    log: str = ""


class Checks(Protocol):
    """The checks of one repository on one forge. Errors are those of `Forge`."""

    def find(self, ref: str) -> list[Check]:
        """The checks of a commit, or of the newest commit of a branch. Each has its latest outcome."""

    def read_log(self, log_id: str) -> str:
        """The last part of a log; empty if it cannot be read, because it has expired, is too long or too slow."""


def failures_of(checks: Checks, failed: Sequence[Check]) -> list[Failure]:
    """Failed checks with the relevant part of the first logs."""
    with_log = [check for check in failed if check.log_id is not None][:MOST_LOGS]
    return [
        Failure(check, relevant(checks.read_log(check.log_id)) if check in with_log and check.log_id else "")
        for check in failed
    ]


def relevant(log: str) -> str:
    """The part of a log that ends with its last error; the end of the log if no error is marked."""
    plain = _SECTION.sub("", _ANSI.sub("", log.replace("\r\n", "\n")))
    lines = _TIME.sub("", plain).split("\n")
    errors = [number for number, line in enumerate(lines) if line.startswith(_ERROR)]
    lines = lines[: errors[-1] + 1] if errors else lines
    return "\n".join(lines[-_LOG_LINES:])[-_LOG_CHARACTERS:].strip("\n")


def request_of(failures: Sequence[Failure], number: int, forge: str) -> str:
    """A prompt that asks for the failed checks to be fixed."""
    return "\n\n".join(
        [
            f"Checks of pull request {number} on {forge}, which holds the work so far, have failed. Find the cause and fix "
            "it in this repository. Do not delete, skip or weaken tests, and do not change the configuration of the checks. "
            "If the cause is outside of this repository, change nothing and say so.",
            described(failures),
        ]
    )


def described(failures: Sequence[Failure]) -> str:
    """What failed, for a prompt. The texts are quoted."""
    more = len(failures) - _MOST_CHECKS
    left_out = [f"{more} more failed checks are left out, because there are too many."] if more > 0 else []
    return "\n\n".join([NOTE, *map(_described, failures[:_MOST_CHECKS]), *left_out])


def _described(failure: Failure) -> str:
    check = failure.check
    parts = ["This check failed:", quoted(plain(check.name))]
    parts += [quoted(check.summary[:_SUMMARY_CHARACTERS])] if check.summary.strip() else []
    parts += ["The end of its log:", quoted(failure.log)] if failure.log else ["Its log could not be read."]
    return "\n\n".join(parts)
