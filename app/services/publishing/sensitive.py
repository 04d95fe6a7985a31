"""Sites that refuse changes of sensitive files."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from app import db
from app.errors import Invalid
from app.models.states import Scope, SensitiveFiles
from app.sensitive_files import kind_of
from app.services import lookup
from app.services.artifacts import diffs
from app.services.callers import Caller

_MOST_NAMED = 20


def find_refused(caller: Caller, runner_id: uuid.UUID) -> list[str]:
    """The sensitive files of the runner's diff, if its site refuses them. Call this outside a transaction, because it reads
    the store. The worker that publishes checks the commits once more."""
    with db.transaction(read_only=True):
        caller.require(Scope.WRITE)
        runner = lookup.get_runner(caller, runner_id)
        if runner.site.sensitive_files != SensitiveFiles.REFUSE or runner.diff_key is None:
            return []
        diff = diffs.stored(runner.diff_key)
    files = diff.files(1, diff.total, sensitive=True).items
    return [path for file in files for path in (file.path, file.old_path) if path and kind_of(path)]


def refuse(paths: Sequence[str]) -> None:
    """Raise `Invalid` if there are any paths."""
    if paths:
        named = ", ".join(paths[:_MOST_NAMED]) + (" and more" if len(paths) > _MOST_NAMED else "")
        message = (
            f"The site refuses changes of sensitive files: {named}. Have another session undo them, or have an "
            "administrator set the site's sensitive_files to warn."
        )
        raise Invalid(message, error_code="sensitive_files")
