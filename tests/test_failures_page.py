"""`docs/failures.md` names every code that a failure can have, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMES = re.compile(r"EngineError|Failure|__init__|\"code\"")
CODE = re.compile(r"[a-z]+(_[a-z]+)*")


def codes_in(path: Path) -> Iterator[str]:
    """The first argument of each EngineError and Failure, and the `code` of each failure that is written out as a dictionary."""
    text = path.read_text()
    # Most files have none of these, and reading a file as Python takes a while.
    for node in ast.walk(ast.parse(text)) if NAMES.search(text) else ():
        if isinstance(node, ast.Call) and node.args and isinstance(first := node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            second = node.args[1] if len(node.args) > 1 else None
            is_error = name in ("EngineError", "Failure") or (name == "__init__" and second is not None)
            if is_error and isinstance(first.value, str) and CODE.fullmatch(first.value):
                yield first.value
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "code" and isinstance(value, ast.Constant):
                    yield str(value.value)


def test_the_page_names_every_code() -> None:
    rooms = [ROOT / "workers", ROOT / "tasks", ROOT / "app" / "services"]
    sources = [path for room in rooms for path in room.rglob("*.py") if "demo" not in path.parts]
    raised = {code for path in sources for code in codes_in(path)}
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "failures.md").read_text(), re.MULTILINE))
    assert documented == raised
