"""Calls for sites: the repositories that agents work on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from app.client.asynchronous.transport import AsyncTransport, Json
from app.client.paths import id_in_path


class AsyncSiteCalls(AsyncTransport):
    async def sites(self) -> list[Json]:
        """All sites, however many."""
        return await self._all("/sites")

    async def create_site(self, repo_url: str, **fields: Any) -> Json:
        return await self._post("/sites", {"repo_url": repo_url, **fields})

    async def get_site(self, site_id: str) -> Json:
        return await self._get_json(_site(site_id))

    async def update_site(self, site_id: str, **fields: Any) -> Json:
        """Change the given fields."""
        return await self._patch(_site(site_id), fields)

    async def delete_site(self, site_id: str) -> None:
        """Delete a site that no runner needs any more."""
        await self._call("DELETE", _site(site_id))

    async def branches(self, site_id: str, contains: str = "") -> Json:
        """The branches that a worker found last: their `names`, and when they were `listed_at`."""
        return await self._get_json(f"{_site(site_id)}/branches", {"contains": contains})

    def schedules(self, site_id: str) -> AsyncIterator[Json]:
        """All schedules of a site, each with its next five times."""
        return self._pages(f"{_site(site_id)}/schedules")

    async def create_schedule(self, site_id: str, cron: str, prompt: str, **fields: Any) -> Json:
        """Create a runner with `prompt` at each time of `cron`."""
        return await self._post(f"{_site(site_id)}/schedules", {"cron": cron, "prompt": prompt, **fields})

    async def get_schedule(self, site_id: str, schedule_id: str) -> Json:
        return await self._get_json(_schedule(site_id, schedule_id))

    async def update_schedule(self, site_id: str, schedule_id: str, **fields: Any) -> Json:
        """Change the given fields."""
        return await self._patch(_schedule(site_id, schedule_id), fields)

    async def delete_schedule(self, site_id: str, schedule_id: str) -> None:
        await self._call("DELETE", _schedule(site_id, schedule_id))

    async def run_schedule(self, site_id: str, schedule_id: str) -> Json:
        """Create a runner of a schedule now. `last_runner_id` is its id."""
        return await self._post(f"{_schedule(site_id, schedule_id)}/run")

    async def start_preflight(self, site_id: str, **fields: Any) -> Json:
        """Check what a session of the site would need. Ask for the result with `get_preflight`."""
        return await self._post(f"{_site(site_id)}/preflight", fields)

    async def get_preflight(self, site_id: str, preflight_id: str) -> Json:
        """A preflight, whose `state` is `done` at its end."""
        return await self._get_json(f"{_site(site_id)}/preflight/{id_in_path(preflight_id)}")

    def site_variables(self, site_id: str) -> AsyncIterator[Json]:
        """All variables of a site. The values of secrets are None."""
        return self._pages(f"{_site(site_id)}/variables")

    async def create_site_variable(self, site_id: str, name: str, value: str, **fields: Any) -> Json:
        return await self._post(f"{_site(site_id)}/variables", {"name": name, "value": value, **fields})

    async def get_site_variable(self, site_id: str, variable_id: str) -> Json:
        return await self._get_json(_variable(site_id, variable_id))

    async def update_site_variable(self, site_id: str, variable_id: str, **fields: Any) -> Json:
        """Change the given fields."""
        return await self._patch(_variable(site_id, variable_id), fields)

    async def delete_site_variable(self, site_id: str, variable_id: str) -> None:
        await self._call("DELETE", _variable(site_id, variable_id))

    def hooks(self, site_id: str) -> AsyncIterator[Json]:
        """All hooks of a site, without their secrets."""
        return self._pages(f"{_site(site_id)}/agent_runner_hooks")

    async def create_hook(self, site_id: str, prompt: str, **fields: Any) -> Json:
        """Let another system create runners with `prompt`. Only this answer has the secret."""
        return await self._post(f"{_site(site_id)}/agent_runner_hooks", {"prompt": prompt, **fields})

    async def get_hook(self, site_id: str, hook_id: str) -> Json:
        return await self._get_json(_hook(site_id, hook_id))

    async def update_hook(self, site_id: str, hook_id: str, **fields: Any) -> Json:
        """Change the given fields."""
        return await self._patch(_hook(site_id, hook_id), fields)

    async def delete_hook(self, site_id: str, hook_id: str) -> None:
        await self._call("DELETE", _hook(site_id, hook_id))

    async def rotate_hook_secret(self, site_id: str, hook_id: str) -> Json:
        """Replace its secret. The old one is refused from then on."""
        return await self._post(f"{_hook(site_id, hook_id)}/rotate_secret")

    def hook_deliveries(self, site_id: str, hook_id: str) -> AsyncIterator[Json]:
        """What was delivered to it, newest first."""
        return self._pages(f"{_hook(site_id, hook_id)}/deliveries")

    async def create_forge_webhook(self, site_id: str, **fields: Any) -> Json:
        """Let the forge of a site tell what happens to pull requests. Only this answer has the secret."""
        return await self._post(f"{_site(site_id)}/forge_webhook", fields)

    async def get_forge_webhook(self, site_id: str) -> Json:
        return await self._get_json(f"{_site(site_id)}/forge_webhook")

    async def update_forge_webhook(self, site_id: str, **fields: Any) -> Json:
        """Change the given fields."""
        return await self._patch(f"{_site(site_id)}/forge_webhook", fields)

    async def delete_forge_webhook(self, site_id: str) -> None:
        await self._call("DELETE", f"{_site(site_id)}/forge_webhook")

    async def rotate_forge_webhook_secret(self, site_id: str) -> Json:
        """Replace its secret. The old one is refused from then on."""
        return await self._post(f"{_site(site_id)}/forge_webhook/rotate_secret")

    def forge_deliveries(self, site_id: str) -> AsyncIterator[Json]:
        """What the forge delivered, newest first."""
        return self._pages(f"{_site(site_id)}/forge_webhook/deliveries")


def _site(site_id: str) -> str:
    return f"/sites/{id_in_path(site_id)}"


def _schedule(site_id: str, schedule_id: str) -> str:
    return f"{_site(site_id)}/schedules/{id_in_path(schedule_id)}"


def _variable(site_id: str, variable_id: str) -> str:
    return f"{_site(site_id)}/variables/{id_in_path(variable_id)}"


def _hook(site_id: str, hook_id: str) -> str:
    return f"{_site(site_id)}/agent_runner_hooks/{id_in_path(hook_id)}"
