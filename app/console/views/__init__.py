"""The pages. Importing this package registers all of them with the blueprint."""

from app.console.blueprint import bp
from app.console.views import changes, home, new_runner, runners, sign_in, sites

__all__ = ["bp", "changes", "home", "new_runner", "runners", "sign_in", "sites"]
