"""The sites: `/sites`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app.api import examples, links, paging
from app.api.auth import caller
from app.api.blueprint import LIST_HEADERS, Blueprint, empty
from app.api.idempotency import idempotent
from app.api.transactions import reading, writing
from app.schemas.base import PageQuery
from app.schemas.site import BranchesQuery, BranchesSchema, CreateSiteBody, SiteSchema, UpdateSiteBody
from app.services.sites import branches, sites
from app.services.sites.sites import SiteFields

blp = Blueprint("Sites", __name__, description="Repositories to work on.", url_prefix="/api/v1/sites")


@blp.route("")
class Sites(MethodView):
    @reading
    @blp.operation("listSites")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, SiteSchema(many=True), headers=LIST_HEADERS, example=[examples.SITE])
    def get(self, filters: dict[str, Any]) -> Any:
        """List the account's sites, oldest first.

        Deleted sites are left out.
        """
        page = sites.find(caller(), filters)
        return page.items, paging.headers(page)

    @idempotent()
    @blp.operation("createSite", links=links.SITE_LINKS, conflict="`too_many_sites`")
    @blp.arguments(CreateSiteBody, example=examples.CREATE_SITE)
    @blp.response(201, SiteSchema, example=examples.SITE)
    def post(self, fields: dict[str, Any]) -> Any:
        """Create a site: a repository to work on.

        Only `repo_url` is needed. The address is checked, but nothing is fetched yet. A problem that only a worker can
        find ends the first session with a failure that names it.
        """
        site = sites.create(caller(), SiteFields(**fields))
        return site, {"Location": paging.public_url(f"/sites/{site.id}")}


@blp.route("/<uuid:site_id>")
class Site(MethodView):
    @reading
    @blp.operation("getSite")
    @blp.response(200, SiteSchema, example=examples.SITE)
    def get(self, site_id: uuid.UUID) -> Any:
        """Get a site.

        Its access token is never shown; `has_access_token` says whether there is one.
        """
        return sites.get(caller(), site_id)

    @writing
    @blp.operation("updateSite")
    @blp.arguments(UpdateSiteBody, example={"setup_command": "npm ci"}, required=False)
    @blp.response(200, SiteSchema, example=examples.SITE)
    def patch(self, fields: dict[str, Any], site_id: uuid.UUID) -> Any:
        """Change a site.

        Fields that are left out stay as they are. A new `repo_url`, `forge_api_url` or `forge` removes the access token
        unless the same request sends one, because the token was meant for the old address.
        """
        return sites.update(caller(), site_id, SiteFields(**fields))

    @writing
    @blp.operation("deleteSite", conflict="`active_session_exists`")
    @blp.response(204)
    def delete(self, site_id: uuid.UUID) -> Response:
        """Delete a site.

        The site and its runners are no longer shown. A site cannot be deleted while a session is NEW or RUNNING.
        """
        sites.delete(caller(), site_id)
        return empty(204)


@blp.route("/<uuid:site_id>/branches")
class Branches(MethodView):
    @reading
    @blp.operation("listBranches")
    @blp.arguments(BranchesQuery, location="query")
    @blp.response(200, BranchesSchema, example=examples.BRANCHES)
    def get(self, filters: dict[str, Any], site_id: uuid.UUID) -> Any:
        """List branches of a site's repository.

        The default branch comes first, then those that begin with the text; at most 100. They are those that a worker
        found when it fetched the repository last, of at most 5,000: a branch that is missing here can be used all the
        same.
        """
        return branches.find(caller(), site_id, filters["contains"])
