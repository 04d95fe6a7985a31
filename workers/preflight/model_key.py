"""Whether a model provider takes a key: its models are listed, which costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from workers.agents.registry import find_agent
from workers.errors import EngineError
from workers.forges.http import BadAnswer, Client, Limits, Unreachable
from workers.job import AcpAgents, Host
from workers.preflight import Check

_LIMITS = Limits(call_seconds=8.0, total_seconds=8.0, calls=1)
_NAME = "model_key"


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# The path that lists models, below the provider's URL, and the headers with the key.
_LISTS = {
    "ANTHROPIC_API_KEY": ("/v1/models?limit=1", lambda key: {"x-api-key": key, "anthropic-version": "2023-06-01"}),
    "GEMINI_API_KEY": ("/v1beta/models?pageSize=1", lambda key: {"x-goog-api-key": key}),
    "OPENAI_API_KEY": ("/models", _bearer),
    "COPILOT_PROVIDER_API_KEY": ("/models", _bearer),
}


def check_model_key(agent: str, configured: AcpAgents, environment: Mapping[str, str], host: Host) -> Check:
    """Check the key that sessions of `agent` would use. `environment` is that of the agents."""
    adapter = find_agent(agent, configured)
    if adapter is None or adapter.key not in _LISTS or adapter.provider is None:
        return Check(_NAME, "skipped", f"{agent} needs no key, or one that cannot be tried without costs.")
    key = environment.get(adapter.key)
    if not key:
        message = f"There is no {adapter.key}. Create a variable of that name, or have the operator set it."
        return Check(_NAME, "failed", message, "no_model_key")
    variable, usual = adapter.provider
    return _try(adapter.key, key, environment.get(variable) or usual, host)


def _try(name: str, key: str, url: str, host: Host) -> Check:
    path, headers_of = _LISTS[name]
    target = urlsplit(url).path.rstrip("/") + path
    try:
        # The operator chose the address, so it may be a private one.
        client = Client(url, replace(host, allow_private_addresses=True), _LIMITS)
        status = client.request("GET", target, {"Accept": "application/json", **headers_of(key)}, None).status
    except (Unreachable, BadAnswer, EngineError):
        message = "The model's provider did not answer. Try again, and check the network of the control workers."
        return Check(_NAME, "failed", message, "model_unreachable")
    if status in (401, 403):
        return Check(_NAME, "failed", f"The model's provider refused {name}. Replace it.", "model_key_refused")
    if status == 429:
        return Check(_NAME, "failed", f"The model's provider has no more quota for {name} now.", "model_quota")
    if status != 200:
        return Check(_NAME, "skipped", f"The provider does not list its models (status {status}), so it was not tried.")
    return Check(_NAME, "ok", f"The model's provider takes {name}.")
