"""A model that does as the prompt says, over the wire protocols of OpenAI and Anthropic: for tests with real agents."""

from __future__ import annotations

from tests.model_servers.script import directive
from tests.model_servers.server import KEY, ModelServer, model_server

__all__ = ["KEY", "ModelServer", "directive", "model_server"]
