"""Checks of what a session of a site would need, on the page of the site."""

from __future__ import annotations

import uuid

from flask import Response, redirect, request, url_for

from app import db
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.console.views import sites
from app.errors import AppError
from app.services.preflights import preflights


@bp.post("/sites/<uuid:site_id>/preflight")
def start_preflight(site_id: uuid.UUID) -> Response:
    try:
        with db.transaction():
            found = preflights.request(caller(), site_id, agent=None, branch=None, run_setup=forms.flag("run_setup"))
    except AppError as error:
        if error.status == 404:
            raise
        return sites.show(site_id, error, is_of_form=False)
    target = url_for("console.preflight", site_id=site_id, preflight_id=found.row.id, _anchor="preflight")
    return redirect(target, 303)  # type: ignore[return-value]


@bp.get("/sites/<uuid:site_id>/preflight/<uuid:preflight_id>")
def preflight(site_id: uuid.UUID, preflight_id: uuid.UUID) -> Response:
    """The page of the site with the checks, or the checks alone."""
    with db.transaction(read_only=True):
        found = preflights.get(caller(), site_id, preflight_id)
        if "HX-Request" in request.headers:
            return page("sites/checks.html", preflight=found)
        return sites.show(site_id, None, preflight=found)
