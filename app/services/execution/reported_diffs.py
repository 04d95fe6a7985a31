"""The diffs of an external worker's report: in the report itself, or uploaded before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app import artifacts
from app.errors import invalid
from app.redaction.secrets import Secrets
from app.services.artifacts import diffs, references
from app.services.execution.outcomes import Work
from app.services.execution.reports import Report
from app.services.sites import site_secrets
from app.services.unset import Unset

KINDS = ("result", "cumulative")


@dataclass(frozen=True)
class ReportedDiffs:
    """The stored diffs of a report: the key of each kind, and whether one of them contains a known secret."""

    keys: dict[str, str] = field(default_factory=dict)
    contains_secret: bool = False

    def work(self, usage: dict[str, Any] | None) -> Work:
        return Work(self.keys.get("result"), self.keys.get("cumulative"), self.contains_secret, usage)


def store(sent: Report, issued: dict[str, str], secrets: Secrets) -> ReportedDiffs:
    """Store the diffs of a report, or copies of the uploaded ones, and look for secrets in them.

    `issued` are the keys that uploads of this attempt have, by kind. Raises Invalid for a key that was not issued, and for
    what is no diff.
    """
    found = {
        "result": _stored_diff(issued["result"], "result_diff", sent.result_diff, sent.result_diff_s3_key),
        "cumulative": _stored_diff(
            issued["cumulative"], "cumulative_diff", sent.cumulative_diff, sent.cumulative_diff_s3_key
        ),
    }
    keys = {kind: key for kind, key in found.items() if key is not None}
    return ReportedDiffs(keys, any(site_secrets.holds_secret(secrets, key) for key in keys.values()))


def _stored_diff(issued: str, name: str, inline: str | Unset | None, key: str | Unset | None) -> str | None:
    """Store a diff of the report, or a copy of the uploaded one, and return its key."""
    if isinstance(inline, str):
        return diffs.store(name, [inline.encode()], diffs.new_name(issued))
    if not isinstance(key, str):
        return None
    field = f"{name}_s3_key"
    stored = artifacts.store().stat(key) if key == issued else None
    if stored is None:
        raise invalid(
            field,
            "was not issued for this attempt, or nothing was uploaded; ask for diff/upload_urls and upload there",
            error_code="bad_key",
        )
    references.refuse_expired(field, key, stored)
    return diffs.store(field, artifacts.store().read(key), diffs.new_name(issued))
