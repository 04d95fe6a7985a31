"""Runs a script with `sh -e`, and reports at which line it failed. It runs inside the sandbox, so it imports nothing
of ours.

A shell does not report the line: `LINENO` is empty in the `sh` of Debian, and tracing would mix with the script's
output. So the script is read from a pipe, one line in each read (`O_DIRECT`, see pipe(2)). A shell reads the next line
after it has run the command before it, so the last line that it has read is the end of the command that failed.
"""

from __future__ import annotations

# Each script waits for these imports.
import os
import sys

STOPS = "It runs with `sh -e`, so the first command that fails ends it."

# Other shells, such as bash, read one character at a time from a pipe, and would lose the rest of each packet.
_READ_WHOLE_LINES = ("dash", "busybox", "ash")
_PACKET_BYTES = 4096
# SIGPIPE and SIGXFSZ.
_IGNORED = (13, 25)
# How many lines up to search for the start of a command such as `if`.
_LONGEST_COMMAND = 30


def command(path: str) -> list[str]:
    """The command line that runs the script at `path` with `sh -e`. It replaces the file, so use a copy."""
    with open(__file__) as source:
        return [os.path.realpath(sys.executable), "-I", "-S", "-c", source.read(), path]


def main(path: str) -> int:
    """Run the script and return its exit status, 128 + N where signal N ended it."""
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    if os.path.basename(os.path.realpath(_find_shell())) not in _READ_WHOLE_LINES:
        return _run(path)
    reading, writing = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
    # Keep the path, because `$0` and the shell's messages show it.
    os.unlink(path)
    os.symlink(f"/proc/self/fd/{reading}", path)
    packets = [line[start : start + _PACKET_BYTES] for line in lines for start in range(0, len(line), _PACKET_BYTES)]
    _feed(writing, reading, packets)
    os.set_inheritable(reading, True)
    status = _run(path)
    unread = 0
    while os.read(reading, _PACKET_BYTES):
        unread += 1
    if status != 0 and unread < len(packets):
        numbers = [number for number, line in enumerate(lines, 1) for _ in range(0, len(line), _PACKET_BYTES)]
        first, last = _command_at(lines, numbers[len(packets) - unread - 1])
        where = f"line {last}" if first == last else f"lines {first} to {last}"
        text = lines[first - 1].decode(errors="replace").strip()
        print(f"[exit status {status} at {where} of the script: {text}]", file=sys.stderr, flush=True)
    return status


def _find_shell() -> str:
    folders = os.environ.get("PATH", os.defpath).split(":")
    return next((each for folder in folders if os.access(each := f"{folder}/sh", os.X_OK)), "")


def _feed(writing: int, reading: int, packets: list[bytes]) -> None:
    """Write to the pipe. It holds a short script; have another process write the rest of a long one."""
    left = iter(packets)
    os.set_blocking(writing, False)
    try:
        for packet in left:
            os.write(writing, packet)
    except BlockingIOError:
        if os.fork() == 0:
            os.close(reading)
            os.set_blocking(writing, True)
            for each in (packet, *left):
                os.write(writing, each)
            os._exit(0)
    os.close(writing)


def _run(path: str) -> int:
    # Python ignores these signals, and the script would inherit that.
    shell = os.posix_spawnp("sh", ["sh", "-e", path], os.environ, setsigdef=_IGNORED)
    code = os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1])
    return code if code >= 0 else 128 - code


def _command_at(lines: list[bytes], last: int) -> tuple[int, int]:
    """The first and last line of the command that ends at `last`: the fewest lines that are a complete command."""
    import subprocess

    latest = _here_document_at(lines, last) or last
    for first in range(latest, max(latest - _LONGEST_COMMAND, 0), -1):
        continues = first > 1 and lines[first - 2].endswith(b"\\\n")
        text = b"".join(lines[first - 1 : last])
        if text.strip() and not continues:
            check = subprocess.run(["sh", "-n"], input=text, stderr=subprocess.DEVNULL, check=False)
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
    os._exit(main(sys.argv[1]))
