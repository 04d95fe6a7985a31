"""The variables of a site, on its page."""

from __future__ import annotations

import uuid

from flask import Response, redirect, url_for

from app import db
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp
from app.console.views import sites
from app.errors import AppError
from app.schemas.variable import CreateVariableBody
from app.services.variables import variables
from app.services.variables.variables import VariableFields


@bp.post("/sites/<uuid:site_id>/variables")
def create_variable(site_id: uuid.UUID) -> Response:
    given = {
        **forms.filled("name", "stage", "host", "header"),
        "value": forms.text("value"),
        "secret": not forms.flag("public"),
    }
    try:
        fields = forms.load(CreateVariableBody(), given)
        with db.transaction():
            variables.create(caller(), site_id, fields.pop("name"), VariableFields(**fields))
    except AppError as error:
        if error.status == 404:
            raise
        return sites.show(site_id, error, is_of_form=False)
    return _back(site_id)


@bp.post("/sites/<uuid:site_id>/variables/<uuid:variable_id>/delete")
def delete_variable(site_id: uuid.UUID, variable_id: uuid.UUID) -> Response:
    with db.transaction():
        variables.delete(caller(), site_id, variable_id)
    return _back(site_id)


def _back(site_id: uuid.UUID) -> Response:
    return redirect(url_for("console.site", site_id=site_id, saved=1), 303)  # type: ignore[return-value]
