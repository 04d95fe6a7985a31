"""`agent-runners COMMAND ...`. Each command is a module of `app.cli.commands`, imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from app.cli.errors import CommandError
from app.config import Settings, settings
from app.deployment_secrets import own_secrets
from app.errors import AppError
from app.escaping import readable
from app.setting_values import SettingsError

COMMANDS = {
    "demo": "turn a prompt into a pull request, on a sample repository or a clone of yours",
    "up": "start all processes in the Procfile, and stop them in order",
    "init": "create the first account, its user and a token",
    "account": "create and list accounts, and limit their sessions",
    "token": "create, list and revoke tokens",
    "key": "check the secret key, or replace it if it is lost",
    "migrate": "upgrade the database to the newest revision, and set up the folder for artifacts",
    "doctor": "check every part of this deployment, and say how to fix what does not work",
    "broker": "run the embedded broker",
    "web": "serve the API",
    "worker": "run a worker for one queue: sessions, control or sweep",
    "flower": "show workers and tasks in the browser",
}

# Commands that live outside this package. The demonstration uses this package, so this package must not import it.
_MODULES = {"demo": "app.demo.story"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in COMMANDS:
        return _explain(arguments)
    name = arguments[0]
    module = importlib.import_module(_MODULES.get(name, f"app.cli.commands.{name}"))
    parser = argparse.ArgumentParser(prog=f"agent-runners {name}", description=module.__doc__)
    module.add_arguments(parser)
    try:
        return module.run(parser.parse_args(arguments[1:]), Settings.from_environment())
    except (AppError, CommandError, SettingsError) as error:
        message = str(error)
    except Exception as error:
        message = _explain_database_error(error)
        if not message:
            raise
    print(f"agent-runners {name}: {readable(message)}", file=sys.stderr)
    return 1


def _explain_database_error(error: Exception) -> str:
    """The message for a database that does not answer or has no tables; empty for any other error."""
    # Imported only here, because most commands execute other programs and need no database.
    from app import db
    from app.redaction.secrets import Secrets

    if not isinstance(error, db.DatabaseError):
        return ""
    reason = str(error.orig).strip().splitlines()[0]
    remedy = "Start the database or set AGENT_RUNNERS_DATABASE_URL, and run agent-runners migrate"
    return f"the database failed: {Secrets(None, own_secrets(settings())).redact(reason)}. {remedy}"


def _explain(arguments: Sequence[str]) -> int:
    lines = "\n".join(f"  {name:<9} {what}" for name, what in COMMANDS.items())
    text = (
        f"usage: agent-runners COMMAND [--help]\n\n{lines}\n\ndocs/settings.md lists the settings, which are variables."
    )
    if arguments and arguments[0] in ("-h", "--help"):
        print(text)
        return 0
    unknown = f"agent-runners: unknown command {arguments[0]!r}\n\n" if arguments else ""
    print(unknown + text, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
