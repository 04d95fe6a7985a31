"""Cut GitHub's description of its REST API down to what is used here, so that tests can hold answers against it.

    npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
    python tests/workers/forges/cut_openapi.py package/generated/api.github.com.json tests/workers/forges/github-openapi.json.gz

The description is GitHub's, under the MIT licence: https://github.com/github/rest-api-description
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

_REPOSITORY = "/repos/{owner}/{repo}"
_PULL, _ISSUE = f"{_REPOSITORY}/pulls/{{pull_number}}", f"{_REPOSITORY}/issues/{{issue_number}}"
PATHS = [
    "/app",
    "/app/installations",
    "/app/installations/{installation_id}/access_tokens",
    "/user",
    _REPOSITORY,
    f"{_REPOSITORY}/installation",
    f"{_REPOSITORY}/pulls",
    _PULL,
    f"{_PULL}/merge",
    f"{_PULL}/requested_reviewers",
    f"{_REPOSITORY}/labels/{{name}}",
    f"{_ISSUE}/labels",
    f"{_ISSUE}/assignees",
    f"{_PULL}/comments",
    f"{_PULL}/reviews/{{review_id}}",
    f"{_ISSUE}/comments",
    f"{_REPOSITORY}/issues/comments/{{comment_id}}",
    f"{_REPOSITORY}/collaborators/{{username}}/permission",
    f"{_REPOSITORY}/commits/{{ref}}/check-runs",
    f"{_REPOSITORY}/commits/{{ref}}/status",
    f"{_REPOSITORY}/statuses/{{sha}}",
    f"{_REPOSITORY}/actions/jobs/{{job_id}}/logs",
    _ISSUE,
    f"{_ISSUE}/events",
    f"{_ISSUE}/reactions",
]
METHODS = {"get", "post", "put", "patch"}
# They are for readers, and most of the size.
_PROSE = {"description", "summary", "example", "examples", "externalDocs", "x-github", "x-github-breaking-changes"}


def cut(whole: dict[str, Any]) -> dict[str, Any]:
    """The operations on `PATHS`, and every component that they lead to."""
    paths = {
        path: {name: _bare(value) for name, value in whole["paths"][path].items() if name in METHODS | {"parameters"}}
        for path in PATHS
    }
    kept: dict[str, dict[str, Any]] = {}
    waiting = _references(paths)
    while waiting:
        _, _, kind, name = waiting.pop().split("/")
        if name not in kept.setdefault(kind, {}):
            kept[kind][name] = _bare(whole["components"][kind][name])
            waiting |= _references(kept[kind][name])
    return {"openapi": whole["openapi"], "info": whole["info"], "paths": paths, "components": kept}


def _bare(value: Any, *, names: bool = False) -> Any:
    """`value` without prose. Under `properties` the keys are names of things, which prose may be one of."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _bare(item, names=key == "properties" and not names)
        for key, item in value.items()
        if names or key not in _PROSE
    }


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_references, value))
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own.union(*map(_references, value.values()))


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    text = json.dumps(cut(json.loads(source.read_text())), separators=(",", ":"), sort_keys=True)
    # Without a time, the same description gives the same file.
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
