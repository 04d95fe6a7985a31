"""What ends a command."""


class CommandError(Exception):
    """A command cannot go on; the message says what to do."""
