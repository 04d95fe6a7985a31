"""Git's `proc-receive` hook: refuses pushes to protected branches in the words of GitHub.

Git runs it for those branches alone and tells its reason to the caller, which an `update` hook cannot do. It is run
as a script, by the `hooks`, and speaks packet lines: https://git-scm.com/docs/githooks#proc-receive
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO


def refuse(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    list(_packets(incoming))  # Git offers a version and its features; none of the features is wanted.
    outgoing.write(_packet("version=1\n") + b"0000")
    outgoing.flush()
    for command in list(_packets(incoming)):
        ref = command.split()[2]
        print(f"error: GH006: Protected branch update failed for {ref}.", file=sys.stderr)
        print("error: Changes must be made through a pull request.", file=sys.stderr)
        outgoing.write(_packet(f"ng {ref} protected branch hook declined\n"))
    outgoing.write(b"0000")
    outgoing.flush()


def _packets(stream: BinaryIO) -> Iterator[str]:
    """Those up to the next flush packet, or the end."""
    while size := int(stream.read(4) or b"0", 16):
        yield stream.read(size - 4).decode()


def _packet(text: str) -> bytes:
    data = text.encode()
    return b"%04x%s" % (len(data) + 4, data)


if __name__ == "__main__":
    refuse(sys.stdin.buffer, sys.stdout.buffer)
