"""Cut the models of Microsoft's client for Azure DevOps down to what is used here, so that tests can hold messages against
them.

    pip download --no-deps --pre azure-devops && unzip azure_devops-*.whl
    python tests/workers/forges/cut_azure_models.py azure/devops/v7_1 tests/workers/forges/azure-models.json.gz

The models are generated from the description of the API, and are Microsoft's, under the MIT licence:
https://github.com/microsoft/azure-devops-python-api
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# The areas of the API, and the models of what is sent and received.
ROOTS = {
    "git": [
        "GitPullRequest",
        "GitRepository",
        "GitRef",
        "GitStatus",
        "GitPullRequestStatus",
        "GitPullRequestIteration",
        "GitPullRequestCommentThread",
        "Comment",
        "IdentityRefWithVote",
        "WebApiTagDefinition",
        "WebApiCreateTagRequestData",
    ],
    "build": ["Build", "Timeline"],
    "identity": ["Identity"],
    "work_item_tracking": ["WorkItemTagDefinition"],
}
Model = dict[str, str]
"""The type of each property, as the client writes it: `str`, `[GitRef]`, `{str}` ..."""


def models_in(source: str) -> dict[str, Model]:
    """The models of a module, each with the properties that it inherits."""
    found = {}
    for node in ast.parse(source).body:
        for each in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "_attribute_map":
                properties = ast.literal_eval(each.value).values()
                found[node.name] = {each["key"]: each["type"] for each in properties}
    return found


def named_in(kind: str) -> str:
    """The model or plain type in `[GitRef]` or `{str}`."""
    return re.sub(r"[\[\]{}]", "", kind)


def reachable(models: dict[str, Model], roots: list[str]) -> Iterator[str]:
    waiting, seen = [*roots], set[str]()
    while waiting:
        name = waiting.pop()
        if name in models and name not in seen:
            seen.add(name)
            yield name
            waiting += map(named_in, models[name].values())


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    kept = {}
    for area, roots in ROOTS.items():
        models = models_in((source / area / "models.py").read_text("utf-8-sig"))
        kept[area] = {name: models[name] for name in reachable(models, roots)}
    text = json.dumps(kept, separators=(",", ":"), sort_keys=True)
    # Without a time, the same models give the same file.
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
