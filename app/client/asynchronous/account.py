"""Calls for the account: its user and limits, variables, tokens, agents and webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from app.client.asynchronous.events import follow
from app.client.asynchronous.transport import AsyncTransport, Json
from app.client.events import Event
from app.client.paths import id_in_path


class AsyncAccountCalls(AsyncTransport):
    async def me(self) -> Json:
        """The user of the token, its account and the token itself."""
        return await self._get_json("/me")

    async def account(self) -> Json:
        """The account: its limits, and what of them is in use."""
        return await self._get_json("/account")

    async def create_console_link(self) -> str:
        """A URL that signs in to the console once, within ten minutes."""
        link = await self._post("/console_links")
        return str(link["url"])

    async def agents(self) -> list[Json]:
        """The agents that a prompt may name, and whether they are installed and have a key."""
        return list(await self._get_json("/agents"))

    def account_events(self, *, last_event_id: str | None = None, patience: float = 60.0) -> AsyncIterator[Event]:
        """The changes of state in the account from now on. First comes a `heartbeat` whose id is a place to resume from."""
        return follow(self._http, "/events", last_event_id, patience)

    def audit_events(self) -> AsyncIterator[Json]:
        """Who changed what, newest first."""
        return self._pages("/audit_events")

    async def budgets(self) -> list[Json]:
        """The budgets of the account and its sites, with what is used of them."""
        return list(await self._get_json("/budgets"))

    async def create_budget(self, period: str, **fields: Any) -> Json:
        """Limit what sessions use in each `period`, a `day` or a `month`."""
        return await self._post("/budgets", {"period": period, **fields})

    async def get_budget(self, budget_id: str) -> Json:
        return await self._get_json(f"/budgets/{id_in_path(budget_id)}")

    async def update_budget(self, budget_id: str, **fields: Any) -> Json:
        """Change the given limits."""
        return await self._patch(f"/budgets/{id_in_path(budget_id)}", fields)

    async def delete_budget(self, budget_id: str) -> None:
        await self._call("DELETE", f"/budgets/{id_in_path(budget_id)}")

    def account_variables(self) -> AsyncIterator[Json]:
        """All variables of the account. The values of secrets are None."""
        return self._pages("/account/variables")

    async def create_account_variable(self, name: str, value: str, **fields: Any) -> Json:
        return await self._post("/account/variables", {"name": name, "value": value, **fields})

    async def get_account_variable(self, variable_id: str) -> Json:
        return await self._get_json(_variable(variable_id))

    async def update_account_variable(self, variable_id: str, **fields: Any) -> Json:
        """Change the given fields."""
        return await self._patch(_variable(variable_id), fields)

    async def delete_account_variable(self, variable_id: str) -> None:
        await self._call("DELETE", _variable(variable_id))

    def members(self) -> AsyncIterator[Json]:
        """The people of the account, with their roles."""
        return self._pages("/account/members")

    async def create_member(self, email: str, full_name: str, **fields: Any) -> Json:
        """Add a person. Only this answer has their first token, as `token`."""
        return await self._post("/account/members", {"email": email, "full_name": full_name, **fields})

    async def get_member(self, member_id: str) -> Json:
        return await self._get_json(_member(member_id))

    async def update_member(self, member_id: str, **fields: Any) -> Json:
        """Change the given fields."""
        return await self._patch(_member(member_id), fields)

    async def delete_member(self, member_id: str) -> None:
        """Remove a person, whose tokens are all revoked."""
        await self._call("DELETE", _member(member_id))

    def forge_accounts(self) -> AsyncIterator[Json]:
        """Your own accounts on forges."""
        return self._pages("/account/forge_accounts")

    async def connect_forge_account(self, forge: str, token: str, **fields: Any) -> Json:
        """Connect your account on a forge. Get it until its `state` is CONNECTED or FAILED."""
        return await self._post("/account/forge_accounts", {"forge": forge, "token": token, **fields})

    async def get_forge_account(self, forge_account_id: str) -> Json:
        return await self._get_json(_forge_account(forge_account_id))

    async def remove_forge_account(self, forge_account_id: str) -> None:
        await self._call("DELETE", _forge_account(forge_account_id))

    def tokens(self) -> AsyncIterator[Json]:
        """The tokens of the user, or of the account for an administrator, revoked ones too. Without their values."""
        return self._pages("/tokens")

    async def create_token(self, **fields: Any) -> Json:
        """Create a token. Only this answer has its value, as `token`."""
        return await self._post("/tokens", fields)

    async def revoke_token(self, token_id: str) -> None:
        await self._call("DELETE", f"/tokens/{id_in_path(token_id)}")

    def webhooks(self) -> AsyncIterator[Json]:
        return self._pages("/webhooks")

    async def create_webhook(self, url: str, **fields: Any) -> Json:
        """Send events to `url`. Only this answer has the secret that signs them."""
        return await self._post("/webhooks", {"url": url, **fields})

    async def get_webhook(self, webhook_id: str) -> Json:
        return await self._get_json(_webhook(webhook_id))

    async def update_webhook(self, webhook_id: str, **fields: Any) -> Json:
        """Change the given fields."""
        return await self._patch(_webhook(webhook_id), fields)

    async def delete_webhook(self, webhook_id: str) -> None:
        await self._call("DELETE", _webhook(webhook_id))

    async def rotate_webhook_secret(self, webhook_id: str) -> Json:
        """Replace its secret. For a day, deliveries are signed with the old one, too."""
        return await self._post(f"{_webhook(webhook_id)}/rotate_secret")

    def webhook_deliveries(self, webhook_id: str) -> AsyncIterator[Json]:
        """What was sent to it and what it answered, newest first."""
        return self._pages(f"{_webhook(webhook_id)}/deliveries")

    async def replay_webhook_delivery(self, webhook_id: str, delivery_id: str) -> Json:
        """Send a delivery again."""
        return await self._post(f"{_webhook(webhook_id)}/deliveries/{id_in_path(delivery_id)}/replay")


def _member(member_id: str) -> str:
    return f"/account/members/{id_in_path(member_id)}"


def _forge_account(forge_account_id: str) -> str:
    return f"/account/forge_accounts/{id_in_path(forge_account_id)}"


def _variable(variable_id: str) -> str:
    return f"/account/variables/{id_in_path(variable_id)}"


def _webhook(webhook_id: str) -> str:
    return f"/webhooks/{id_in_path(webhook_id)}"
