"""Loads the prices of models before the pool is forked, so that its processes share their memory."""

from __future__ import annotations

from app.config import agent_environment, settings
from app.setting_values import SettingsError
from workers.limits.prices import Prices


def load_prices() -> None:
    """Load the price list where agents have a model to call. Raises SettingsError for one that cannot be read."""
    if not agent_environment(settings()) and settings().prices_file is None:
        return
    try:
        Prices(settings().prices_file).load()
    except ValueError as error:
        raise SettingsError(f"AGENT_RUNNERS_PRICES_FILE: {error}") from None
