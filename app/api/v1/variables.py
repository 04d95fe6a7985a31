"""Variables and secrets of sites and accounts: `/sites/:id/variables` and `/account/variables`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app.api import examples, paging
from app.api.auth import caller
from app.api.blueprint import LIST_HEADERS, Blueprint, empty
from app.api.idempotency import idempotent
from app.api.presenters import RowView
from app.api.transactions import reading, writing
from app.schemas.base import PageQuery
from app.schemas.variable import CreateVariableBody, UpdateVariableBody, VariableSchema
from app.services.variables import variables
from app.services.variables.variables import VariableFields

_CONFLICT = "`variable_exists`, `too_many_variables`"
_CHANGE = {"value": "npm_aaaaaaaaaaaaaaaaaaaa"}
blp = Blueprint(
    "Variables", __name__, description="Variables and secrets of the commands of sessions.", url_prefix="/api/v1"
)


def _view(variable: Any) -> RowView:
    return RowView(variable, value=variables.shown_value(variable))


def _list(site_id: uuid.UUID | None, filters: dict[str, Any]) -> Any:
    page = variables.find(caller(), site_id, filters)
    return [_view(each) for each in page.items], paging.headers(page)


def _create(site_id: uuid.UUID | None, fields: dict[str, Any]) -> Any:
    name = fields.pop("name")
    variable = variables.create(caller(), site_id, name, VariableFields(**fields))
    place = f"/sites/{site_id}" if site_id else "/account"
    return _view(variable), {"Location": paging.public_url(f"{place}/variables/{variable.id}")}


@blp.route("/sites/<uuid:site_id>/variables")
class SiteVariables(MethodView):
    @reading
    @blp.operation("listSiteVariables")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, VariableSchema(many=True), headers=LIST_HEADERS, example=[examples.VARIABLE])
    def get(self, filters: dict[str, Any], site_id: uuid.UUID) -> Any:
        """List the variables of a site, oldest first.

        Those of the account are not among them. The value of a secret is null.
        """
        return _list(site_id, filters)

    @idempotent()
    @blp.operation("createSiteVariable", conflict=_CONFLICT)
    @blp.arguments(CreateVariableBody, example=examples.CREATE_VARIABLE)
    @blp.response(201, VariableSchema, example=examples.VARIABLE)
    def post(self, fields: dict[str, Any], site_id: uuid.UUID) -> Any:
        """Create a variable of a site.

        Sessions that start from now on get it. It takes the place of one of the account, and of the operator's, that has
        the same name.
        """
        return _create(site_id, fields)


@blp.route("/sites/<uuid:site_id>/variables/<uuid:variable_id>")
class SiteVariable(MethodView):
    @reading
    @blp.operation("getSiteVariable")
    @blp.response(200, VariableSchema, example=examples.VARIABLE)
    def get(self, site_id: uuid.UUID, variable_id: uuid.UUID) -> Any:
        """Get a variable of a site.

        The fingerprint shows whether the value of a secret has changed.
        """
        return _view(variables.get(caller(), site_id, variable_id))

    @writing
    @blp.operation("updateSiteVariable")
    @blp.arguments(UpdateVariableBody, example=_CHANGE, required=False)
    @blp.response(200, VariableSchema, example=examples.VARIABLE)
    def patch(self, fields: dict[str, Any], site_id: uuid.UUID, variable_id: uuid.UUID) -> Any:
        """Change a variable of a site.

        Fields that are left out stay as they are. Sessions that run already keep the old value.
        """
        return _view(variables.update(caller(), site_id, variable_id, VariableFields(**fields)))

    @writing
    @blp.operation("deleteSiteVariable")
    @blp.response(204)
    def delete(self, site_id: uuid.UUID, variable_id: uuid.UUID) -> Response:
        """Delete a variable of a site.

        Sessions that run already keep it.
        """
        variables.delete(caller(), site_id, variable_id)
        return empty(204)


@blp.route("/account/variables")
class AccountVariables(MethodView):
    @reading
    @blp.operation("listAccountVariables")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, VariableSchema(many=True), headers=LIST_HEADERS, example=[examples.ACCOUNT_VARIABLE])
    def get(self, filters: dict[str, Any]) -> Any:
        """List the variables of your account, oldest first.

        All its sites get them. The value of a secret is null.
        """
        return _list(None, filters)

    @idempotent()
    @blp.operation("createAccountVariable", conflict=_CONFLICT)
    @blp.arguments(CreateVariableBody, example=examples.CREATE_VARIABLE)
    @blp.response(201, VariableSchema, example=examples.ACCOUNT_VARIABLE)
    def post(self, fields: dict[str, Any]) -> Any:
        """Create a variable of your account.

        The sessions of all its sites get it, unless the site has a variable of the same name.
        """
        return _create(None, fields)


@blp.route("/account/variables/<uuid:variable_id>")
class AccountVariable(MethodView):
    @reading
    @blp.operation("getAccountVariable")
    @blp.response(200, VariableSchema, example=examples.ACCOUNT_VARIABLE)
    def get(self, variable_id: uuid.UUID) -> Any:
        """Get a variable of your account.

        The fingerprint shows whether the value of a secret has changed.
        """
        return _view(variables.get(caller(), None, variable_id))

    @writing
    @blp.operation("updateAccountVariable")
    @blp.arguments(UpdateVariableBody, example=_CHANGE, required=False)
    @blp.response(200, VariableSchema, example=examples.ACCOUNT_VARIABLE)
    def patch(self, fields: dict[str, Any], variable_id: uuid.UUID) -> Any:
        """Change a variable of your account.

        Fields that are left out stay as they are. Sessions that run already keep the old value.
        """
        return _view(variables.update(caller(), None, variable_id, VariableFields(**fields)))

    @writing
    @blp.operation("deleteAccountVariable")
    @blp.response(204)
    def delete(self, variable_id: uuid.UUID) -> Response:
        """Delete a variable of your account.

        Sessions that run already keep it.
        """
        variables.delete(caller(), None, variable_id)
        return empty(204)
