"""What every command that works with agents has: an example in its help, and JSON for scripts."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator

import click

from app.cli.main import SECTIONS, agent_runners


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _commands(each, f"{path} {name}")
    else:
        yield path, command


def _remote() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(agent_runners)
    for name in (*SECTIONS["Work with agents"], "doctor"):
        command = agent_runners.get_command(context, name)  # type: ignore[attr-defined]
        yield from _commands(command, f"agent-runners {name}")


COMMANDS = dict(_remote())


def _arguments(line: str, path: str) -> list[str]:
    """What an example passes to the command itself, without what the shell does around it."""
    words = shlex.split(line)[len(path.split()) :]
    return list(itertools.takewhile(lambda word: word not in ("|", "<", ">"), words))


def test_the_help_of_every_command_has_examples_that_it_accepts() -> None:
    for path, command in COMMANDS.items():
        lines = [line.strip() for line in (command.help or "").splitlines()]
        examples = [line[line.index(path) :] for line in lines if f"{path} " in f"{line} "]
        assert examples, f"{path} has no example"
        for example in examples:
            command.make_context(path, _arguments(example, path))


def test_every_command_prints_json_for_scripts() -> None:
    without = {path for path, command in COMMANDS.items() if not any("--json" in each.opts for each in command.params)}
    assert without == {"agent-runners mcp"}, "which speaks a protocol of its own"
