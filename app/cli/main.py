"""`agent-runners COMMAND ...`. Each command is in a module of its own, imported only when it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from app.cli.errors import CommandError, ExitStatus
from app.config import settings
from app.deployment_secrets import own_secrets
from app.errors import AppError
from app.escaping import readable
from app.setting_values import SettingsError

if TYPE_CHECKING:
    import httpx

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Work with agents": {
        "run": "give a prompt to an agent, and follow it to its end",
        "follow": "show the steps of a runner's latest session as they happen",
        "say": "continue a runner: another prompt that builds on its changes",
        "list": "list runners, newest first",
        "show": "show a runner with its sessions",
        "steps": "show the steps of a session",
        "diff": "show what a runner changed, or apply it to a checkout",
        "stop": "stop the session in progress, and keep its work",
        "revert": "go back to the work of another session",
        "rebase": "reapply a runner's diff on the tip of its branch",
        "pr": "open a pull request, or update it",
        "commit": "commit to a branch of the repository",
        "archive": "hide a runner",
        "purge": "delete a runner for good, with all that it has",
        "sites": "list, create and change sites: the repositories that runners work on",
        "schedules": "start runs at certain times",
        "hooks": "let other systems start runs",
        "forge-webhooks": "let the forge of a site report what happens to pull requests",
        "webhooks": "tell other systems, or people in a chat or by e-mail, what happens",
        "variables": "set variables and secrets of sites, or of all sites of the account",
        "budgets": "show what is used of budgets, and set them",
        "tokens": "create, list and revoke your tokens",
        "forge-accounts": "connect your own accounts on forges",
        "members": "add, change and remove the people of the account",
        "agents": "list the agents that the deployment can run",
        "console": "open the console in the browser, signed in",
        "mcp": "let another agent hand work to these (Model Context Protocol)",
        "login": "save a token for a deployment",
        "logout": "forget the saved token",
        "whoami": "show the user, the token and the deployment",
    },
    "Run a deployment": {
        "demo": "try everything on this machine, on a sample repository or a clone of yours",
        "up": "start all processes in the Procfile, and stop them in order",
        "init": "create the first account, its user and a token",
        "account": "create and list accounts, and limit their sessions",
        "token": "create, list and revoke tokens, with access to the database",
        "key": "check the secret key, or replace it if it is lost",
        "migrate": "upgrade the database to the newest revision, and set up the folder for artifacts",
        "doctor": "check every part of this deployment, and say how to fix what does not work",
        "broker": "run the embedded broker",
        "web": "serve the API",
        "worker": "run a worker for one queue: sessions, control or sweep",
        "flower": "show workers and tasks in the browser",
    },
}
COMMANDS = {name: what for section in SECTIONS.values() for name, what in section.items()}

# The module and the name of commands that are not the `command` of the module of their name in app.cli.deployment.
_PLACES = {
    # The demonstration uses this package, so this package must not import it.
    "demo": ("app.demo.story", "command"),
    "run": ("app.cli.remote.run", "run"),
    "follow": ("app.cli.remote.run", "follow"),
    "say": ("app.cli.remote.run", "follow_up"),
    "list": ("app.cli.remote.runs", "list_runners"),
    "show": ("app.cli.remote.runs", "show"),
    "steps": ("app.cli.remote.runs", "steps"),
    "diff": ("app.cli.remote.diff", "diff"),
    "stop": ("app.cli.remote.actions", "stop"),
    "revert": ("app.cli.remote.actions", "revert"),
    "rebase": ("app.cli.remote.actions", "rebase"),
    "pr": ("app.cli.remote.actions", "pull_request"),
    "commit": ("app.cli.remote.actions", "commit"),
    "archive": ("app.cli.remote.actions", "archive"),
    "purge": ("app.cli.remote.actions", "purge"),
    "sites": ("app.cli.remote.sites", "sites"),
    "schedules": ("app.cli.remote.schedules", "schedules"),
    "hooks": ("app.cli.remote.hooks", "hooks"),
    "forge-webhooks": ("app.cli.remote.forge_webhooks", "forge_webhooks"),
    "webhooks": ("app.cli.remote.webhooks", "webhooks"),
    "tokens": ("app.cli.remote.tokens", "tokens"),
    "forge-accounts": ("app.cli.remote.forge_accounts", "forge_accounts"),
    "members": ("app.cli.remote.members", "members"),
    "variables": ("app.cli.remote.variables", "variables"),
    "budgets": ("app.cli.remote.budgets", "budgets"),
    "agents": ("app.cli.remote.agents", "agents"),
    "console": ("app.cli.remote.login", "console"),
    "mcp": ("app.cli.remote.mcp", "mcp"),
    "login": ("app.cli.remote.login", "login"),
    "logout": ("app.cli.remote.login", "logout"),
    "whoami": ("app.cli.remote.login", "whoami"),
}


class OutputClosed(Exception):
    """Whatever read the output, such as `head`, has ended. Click makes a failure of a BrokenPipeError."""


class Commands(click.Group):
    """All commands, in sections. The list needs none of their modules."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _closed_output_named():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _closed_output_named():
            status = super().invoke(ctx)
            sys.stdout.flush()
            return status

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = _PLACES.get(cmd_name, (f"app.cli.deployment.{cmd_name}", "command"))
        command: click.Command = getattr(importlib.import_module(module), attribute)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(commands.items()))


@contextlib.contextmanager
def _closed_output_named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosed from error


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="docs/settings.md lists the settings of a deployment, which are variables.",
)
def agent_runners() -> None:
    """Turn a prompt into a reviewed pull request, with any coding agent."""


def main(argv: Sequence[str] | None = None, transport: httpx.BaseTransport | None = None) -> int:
    """Run one command and return its exit status: see `ExitStatus`. `transport` takes the place of the network."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = agent_runners.main(arguments, "agent-runners", standalone_mode=False, obj=transport)
        return status if isinstance(status, int) else ExitStatus.DONE
    except click.UsageError as error:
        error.show()
        return ExitStatus.USAGE
    except (click.Abort, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    except OutputClosed:
        # Nothing more can be written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.CLOSED
    except CommandError as error:
        message, status = str(error), error.status
    except (AppError, SettingsError, click.ClickException) as error:
        message, status = str(error), ExitStatus.ERROR
    except ModuleNotFoundError as error:
        extra = "mcp" if error.name == "mcp" else "server"
        message = f"the package {error.name} is not installed. Run: pip install 'agent-runners[{extra}]'"
        status = ExitStatus.ERROR
    except Exception as error:
        message, status = _explain_database_error(error), ExitStatus.ERROR
        if not message:
            raise
    print(f"agent-runners {arguments[0]}: {readable(message)}", file=sys.stderr)
    return status


def _explain_database_error(error: Exception) -> str:
    """The message for a database that does not answer or has no tables; empty for any other error."""
    # Most commands need no database.
    if "sqlalchemy" not in sys.modules:
        return ""
    from app import db
    from app.redaction.secrets import Secrets

    if not isinstance(error, db.DatabaseError):
        return ""
    reason = str(error.orig).strip().splitlines()[0]
    remedy = "Start the database or set AGENT_RUNNERS_DATABASE_URL, and run agent-runners migrate"
    return f"the database failed: {Secrets(None, own_secrets(settings())).redact(reason)}. {remedy}"


if __name__ == "__main__":
    sys.exit(main())
