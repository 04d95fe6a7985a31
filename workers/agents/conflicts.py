"""The instructions for an agent that is to resolve the conflicts of a merge."""

from __future__ import annotations

from workers.job import Conflict

_MOST = 100


def resolution_of(conflict: Conflict) -> str:
    """A prompt that asks for the conflicts to be resolved."""
    branch, runner = conflict.names
    parts = [
        f"The work of this conversation was merged into the newest commit of the branch {conflict.branch}, and conflicts with "
        "it. Resolve the conflicts in the files; do not run git merge, rebase or commit.",
        f"Each conflict is marked in its file: what the branch has is between the lines <<<<<<< {branch} and =======, and "
        f"what this work has between ======= and >>>>>>> {runner}. Put in their place what keeps the purpose of both sides, "
        "and remove these lines. Change nothing else, unless something needs it to work with what the branch has now. "
        "Before that programs may not work, and commands that prepared the files may have failed.",
        f"Some conflicts have no such lines. Of a binary file the branch's content is there. Of a file that one side deleted, "
        f"the other's is there. A file whose name ends with ~{branch} or ~{runner} had to make place for another one: move or "
        "merge what it has, and remove it.",
    ]
    parts += [_listed("These files conflict:", conflict.files)] if conflict.files else []
    if conflict.notes:
        heading = f"Git says of them ({branch} is the branch, {runner} is this work; not each conflict has such lines):"
        parts.append(_listed(heading, conflict.notes))
    if not conflict.files:
        parts.append("Some may be resolved already. Search all files for the rest.")
    return "\n\n".join(parts)


def _listed(heading: str, lines: tuple[str, ...]) -> str:
    more = [f"- and {len(lines) - _MOST:,} more"] if len(lines) > _MOST else []
    return "\n".join([heading, *(f"- {line}" for line in lines[:_MOST]), *more])
