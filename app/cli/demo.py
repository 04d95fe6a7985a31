"""Show a prompt becoming a diff, a second one building on it, and a pull request, with all of it on this machine.

Without arguments it works on a small repository of its own. It keeps to a data folder of its own, too.
"""

from app.demo.story import add_arguments, run

__all__ = ["add_arguments", "run"]
