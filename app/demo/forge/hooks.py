"""What git asks before it takes a push: hooks, written anew at each start into the folder of the forge."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from app.demo.forge import protected

_PRE_RECEIVE = """\
#!/bin/sh
# Refuses one push for each file that the forge has laid down for it; of two at once, rm lets one have it.
for order in "$FORGE_ORDERS"/refuse-push-*; do
    if rm "$order" 2>/dev/null; then
        echo "error: GH013: Repository rule violations found." >&2
        exit 1
    fi
done
exit 0
"""
_PROC_RECEIVE = f"""\
#!/bin/sh
exec {shlex.quote(sys.executable)} -I {shlex.quote(protected.__file__)}
"""


def write_hooks(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("pre-receive", _PRE_RECEIVE), ("proc-receive", _PROC_RECEIVE)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
