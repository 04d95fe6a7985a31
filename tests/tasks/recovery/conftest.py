"""Workspaces as lost workers leave them. The end of a test disposes of what is left."""

from __future__ import annotations

from tests.workers.conftest import workspaces

__all__ = ["workspaces"]
