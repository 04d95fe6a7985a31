"""The forge as a Flask application: the APIs of several forges, git over HTTP, and pages."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, render_template, request
from jinja2 import StrictUndefined
from markupsafe import Markup
from werkzeug import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, SecurityError

from app.demo.forge.api import api
from app.demo.forge.apps_api import apps_api
from app.demo.forge.azure_checks import azure_checks
from app.demo.forge.azure_devops import azure_devops
from app.demo.forge.azure_discussions import azure_discussions
from app.demo.forge.bitbucket import bitbucket
from app.demo.forge.bitbucket_checks import bitbucket_checks
from app.demo.forge.bitbucket_data_center import bitbucket_data_center
from app.demo.forge.bitbucket_data_center_checks import bitbucket_data_center_checks
from app.demo.forge.bitbucket_data_center_discussions import bitbucket_data_center_discussions
from app.demo.forge.bitbucket_discussions import bitbucket_discussions
from app.demo.forge.checks_api import checks_api, logs
from app.demo.forge.discussions_api import discussions_api
from app.demo.forge.forge import Forge, Refused
from app.demo.forge.gitea import gitea
from app.demo.forge.gitea_actions import gitea_actions
from app.demo.forge.gitea_issues import gitea_issues
from app.demo.forge.gitlab import gitlab
from app.demo.forge.gitlab_discussions import gitlab_discussions
from app.demo.forge.gitlab_issues import gitlab_issues
from app.demo.forge.gitlab_pipelines import gitlab_pipelines
from app.demo.forge.graphql import graphql
from app.demo.forge.issues_api import issues_api
from app.demo.forge.lfs import lfs
from app.demo.forge.pages import pages
from app.demo.forge.smart_http import git
from app.demo.forge.users import users
from app.escaping import readable

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def create_app(serving: Forge) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.extensions["forge"] = serving
    # A foreign name that resolves to this server would let a page of that site read the secret in the forms.
    app.config.update(TRUSTED_HOSTS=["127.0.0.1", "localhost"])
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True, "finalize": _visible, "undefined": StrictUndefined}
    app.url_map.strict_slashes = False
    on_github = (api, apps_api, discussions_api, checks_api, logs, issues_api, graphql)
    elsewhere = (gitlab, gitlab_discussions, gitlab_issues, gitlab_pipelines, gitea, gitea_actions, gitea_issues)
    on_bitbucket = (bitbucket, bitbucket_checks, bitbucket_discussions)
    data_center = (bitbucket_data_center, bitbucket_data_center_checks, bitbucket_data_center_discussions)
    on_azure = (azure_devops, azure_checks, azure_discussions)
    for blueprint in (*on_github, *elsewhere, *on_bitbucket, *data_center, *on_azure, users, git, lfs, pages):
        app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, _refuse)
    app.after_request(_with_page_headers)
    return app


def _visible(value: Any) -> Any:
    """A value for a page. Invisible characters, and those that change the text direction, are escaped."""
    return readable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _refuse(error: HTTPException) -> Response:
    """Answer an error like GitHub: as JSON in the API, as text for git to show, else as a page."""
    if isinstance(error, MethodNotAllowed):
        error = NotFound()
    if isinstance(error, SecurityError):
        error = Refused(403, "This forge accepts requests on loopback only. Use 127.0.0.1 or localhost.")
    message = error.name if error.description == type(error).description else str(error.description)
    errors = list(error.errors) if isinstance(error, Refused) else []
    response = error.get_response()
    if request.path.startswith("/api/"):
        body = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(error.code)}
        response.data = json.dumps(body | ({"errors": errors} if errors else {}))
        response.content_type = "application/json; charset=utf-8"
        return response
    if error.code == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="Demo forge"'
    if request.blueprint in (git.name, lfs.name):
        response.data, response.content_type = message, "text/plain; charset=utf-8"
    else:
        details = [each["message"] for each in errors if "message" in each]
        response.data = render_template("refusal.html", message="; ".join([message, *details]))
    return response


def _with_page_headers(response: Response) -> Response:
    if response.mimetype == "text/html":
        response.headers.update(_PAGE_HEADERS)
    return response
