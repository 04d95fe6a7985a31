"""The MCP servers of a site, on its page."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable
from typing import Any

from flask import Response, redirect, url_for

from app import db
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp
from app.console.views import sites
from app.errors import AppError, invalid
from app.schemas.site import UpdateSiteBody
from app.services.sites import sites as services
from app.services.sites.sites import SiteFields

Servers = list[dict[str, Any]]


@bp.post("/sites/<uuid:site_id>/mcp-servers")
def save_mcp_server(site_id: uuid.UUID) -> Response:
    """Add a server, or put it in the place of the one that the form was opened for."""
    replaced = forms.text("replaces")

    def save(servers: Servers) -> Servers:
        server = _server()
        places = [place for place, each in enumerate(servers) if replaced and each["name"] == replaced]
        return [*servers[: places[0]], server, *servers[places[0] + 1 :]] if places else [*servers, server]

    return _change(site_id, save)


@bp.post("/sites/<uuid:site_id>/mcp-servers/<name>/delete")
def delete_mcp_server(site_id: uuid.UUID, name: str) -> Response:
    return _change(site_id, lambda servers: [each for each in servers if each["name"] != name])


def _server() -> dict[str, Any]:
    try:
        command = shlex.split(forms.text("command"))
    except ValueError:
        raise invalid("command", "has a quotation mark that is not closed", error_code="bad_mcp_server") from None
    given = {
        **forms.filled("name", "url", "credential"),
        "command": command,
        **{name: forms.names(name) for name in ("variables", "disabled_tools")},
    }
    return {name: value for name, value in given.items() if value}


def _change(site_id: uuid.UUID, change: Callable[[Servers], Servers]) -> Response:
    try:
        with db.transaction():
            servers = list(services.get(caller(), site_id, lock=True).mcp_servers or [])
            fields = forms.load(UpdateSiteBody(), {"mcp_servers": change(servers)})
            services.update(caller(), site_id, SiteFields(**fields))
    except AppError as error:
        if error.status == 404:
            raise
        return sites.show(site_id, error, is_of_form=False)
    return redirect(url_for("console.site", site_id=site_id, saved=1, _anchor="mcp-servers"), 303)  # type: ignore[return-value]
