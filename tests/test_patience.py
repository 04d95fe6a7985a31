"""No test fails because a machine is slow."""

from __future__ import annotations

import ast
from pathlib import Path

CALLS = {"get", "post", "put", "patch", "delete", "head", "request", "stream", "Client", "AsyncClient"}


def test_no_call_of_a_test_ends_after_the_five_seconds_of_the_library() -> None:
    """`tests.patiently` has calls that wait."""
    hasty = []
    for path in Path(__file__).parent.rglob("*.py"):
        source = path.read_bytes()
        for node in ast.walk(ast.parse(source)) if b"httpx." in source else ():
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="httpx"), attr=name)) if name in CALLS:
                    if not {"timeout", "transport", None} & {keyword.arg for keyword in node.keywords}:
                        hasty.append(f"{path}:{node.lineno}")
    assert hasty == []
