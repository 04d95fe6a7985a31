"""Runs a script with `sh -e`, and reports at which line it failed. The report is made inside the sandbox, so this imports
nothing of ours.

A shell does not report the line: `LINENO` is empty in the `sh` of Debian, and tracing would mix with the script's
output. So the script is read from a pipe, one line in each read (`O_DIRECT`, see pipe(2)). A shell reads the next line
after it has run the command before it, so the last line that it has read is the end of the command that failed.
"""

from __future__ import annotations

import os
import sys

STOPS = "It runs with `sh -e`, so the first command that fails ends it."

_SHELL = "/bin/sh"
# Other shells, such as bash, read one character at a time from a pipe, and would lose the rest of each packet. That of
# busybox reads 1,023 bytes at once.
_READ_WHOLE_LINES = ("dash", "busybox", "ash")
_PACKET_BYTES = 1023
# The pipe is the standard input, and the input of the script comes first in it. The script keeps its path, because `$0` and
# the shell's messages show it. The shell of these lines says nothing itself, such as that a signal ended the script. Python
# takes several times as long to start, so only a failure waits for it.
_FOLLOW = """exec 7>&2 8<"$0" 9<&0 </dev/null 2>/dev/null
if [ $2 -gt 0 ]; then PATH=${PATH:+$PATH:}/usr/bin:/bin head -c $2 <&9 >"$0.input" 2>&7 || exit; exec <"$0.input"; fi
PATH=${PATH:+$PATH:}/usr/bin:/bin ln -sf /proc/self/fd/9 "$0"
(exec "$1" -e "$0" 2>&7 7>&- 8<&-)
status=$?
[ $status = 0 ] || "$3" -I -S -c "$4" $status "$1" 2>&7
exit $status
"""
_TEXT, _UNREAD = 8, 9
# How many lines up to search for the start of a command such as `if`.
_LONGEST_COMMAND = 30


def command(path: str, given: bytes = b"", shell: str = _SHELL) -> list[str]:
    """The command line that runs the script at `path` with `sh -e`. It replaces the file, so use a copy.

    `given` is what the script finds on its standard input. The exit status is that of the script, 128 + N where signal N
    ended it.
    """
    if not _reads_whole_lines(shell):
        return [shell, "-e", path]
    with open(__file__) as source:
        return [shell, "-c", _FOLLOW, path, shell, str(len(given)), os.path.realpath(sys.executable), source.read()]


def stdin(text: bytes, given: bytes = b"", shell: str = _SHELL) -> bytes | list[bytes]:
    """The standard input that `command` needs to run a script with this text: packets, each for one read of a pipe."""
    return _packets([given, *text.splitlines(keepends=True)]) if _reads_whole_lines(shell) else given


def _reads_whole_lines(shell: str) -> bool:
    return sys.platform == "linux" and os.path.basename(os.path.realpath(shell)) in _READ_WHOLE_LINES


def _packets(lines: list[bytes]) -> list[bytes]:
    return [line[start : start + _PACKET_BYTES] for line in lines for start in range(0, len(line), _PACKET_BYTES)]


def main(status: int, shell: str) -> None:
    """Report where the script failed with this exit status, as far as it was read from the pipe."""
    with open(_TEXT, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    unread = 0
    while os.read(_UNREAD, _PACKET_BYTES):
        unread += 1
    if unread < (count := len(_packets(lines))):
        numbers = [number for number, line in enumerate(lines, 1) for _ in _packets([line])]
        first, last = _command_at(lines, numbers[count - unread - 1], shell)
        where = f"line {last}" if first == last else f"lines {first} to {last}"
        text = lines[first - 1].decode(errors="replace").strip()
        print(f"[exit status {status} at {where} of the script: {text}]", file=sys.stderr, flush=True)


def _command_at(lines: list[bytes], last: int, shell: str) -> tuple[int, int]:
    """The first and last line of the command that ends at `last`: the fewest lines that are a complete command."""
    import subprocess

    latest = _here_document_at(lines, last) or last
    for first in range(latest, max(latest - _LONGEST_COMMAND, 0), -1):
        continues = first > 1 and lines[first - 2].endswith(b"\\\n")
        text = b"".join(lines[first - 1 : last])
        if text.strip() and not continues:
            check = subprocess.run([shell, "-n"], input=text, stderr=subprocess.DEVNULL, check=False)
            if check.returncode == 0:
                return first, last
    return last, last


def _here_document_at(lines: list[bytes], last: int) -> int | None:
    """The line with the `<<` of the here-document that ends at `last`, if one does."""
    import re

    word = lines[last - 1].strip(b"\t\n")
    begins = re.compile(rb"<<-?[ \t]*[\\'\"]?%b(?![\w-])" % re.escape(word))
    above = range(last - 1, 0, -1) if word else ()
    return next((number for number in above if begins.search(lines[number - 1])), None)


if __name__ == "__main__":
    # Nothing is left to clean up, which takes Python some milliseconds.
    main(int(sys.argv[1]), sys.argv[2])
    os._exit(0)
