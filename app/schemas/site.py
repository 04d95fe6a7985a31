"""Sites in JSON."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import Execution, Forge
from app.schemas.base import Body, Schema
from app.schemas.fields import NOT_BLANK, Amount, Choice, Cost, Flag, Moment, Pattern, Text, Whole, items

HOST = Pattern(
    r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$",
    error="must be a host name: host, *.host or host:port",
)

PATH = Pattern(r"^[^/\x00]+(/[^/\x00]+)*$", error="must be a path in the repository: folder/file")


class UpdateSiteBody(Body):
    """What can be changed about a site."""

    name = Text(200, least=1, validate=[NOT_BLANK], metadata={"example": "shop"})
    repo_url = Text(2000, least=1, metadata={"example": "https://github.com/example/shop.git"})
    default_branch = Text(255, least=1, allow_none=True, metadata={"example": "main"})
    forge = Choice(Forge)
    forge_api_url = Text(2000, least=1, allow_none=True)
    default_agent = Text(100, least=1, allow_none=True)
    default_model = Text(200, least=1, allow_none=True)
    setup_command = Text(65_536, allow_none=True)
    setup_cache_files = fields.List(
        Text(1000, least=1, validate=[PATH]),
        allow_none=True,
        validate=items(100),
        metadata={"example": ["package-lock.json"]},
    )
    protected_branches = fields.List(
        Text(255, least=1),
        allow_none=True,
        validate=items(100),
    )
    egress_hosts = fields.List(
        Text(255, least=1, validate=[HOST]),
        validate=items(200),
        metadata={
            "example": ["pypi.org", "*.pythonhosted.org"],
        },
    )
    allow_agent_configuration = Flag()
    max_duration_seconds = Whole(least=1, allow_none=True)
    max_cost_usd = Amount(above=0, allow_none=True)
    max_concurrent_sessions = Whole(least=1, allow_none=True)
    execution = Choice(Execution)
    access_token = Text(10_000, least=1, allow_none=True)


class CreateSiteBody(UpdateSiteBody):
    """A repository to work on."""

    repo_url = Text(2000, least=1, required=True, metadata={"example": "https://github.com/example/shop.git"})


class SiteSchema(Schema):
    """A repository that runners work on."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    name = fields.String(required=True)
    repo_url = fields.String(required=True)
    default_branch = fields.String(required=True, allow_none=True)
    forge = Choice(Forge, required=True)
    forge_api_url = fields.String(required=True, allow_none=True)
    default_agent = fields.String(required=True, allow_none=True)
    default_model = fields.String(required=True, allow_none=True)
    setup_command = fields.String(required=True, allow_none=True)
    setup_cache_files = fields.List(fields.String(), required=True, allow_none=True)
    protected_branches = fields.List(fields.String(), required=True, attribute="protected")
    egress_hosts = fields.List(fields.String(), required=True)
    allow_agent_configuration = fields.Boolean(required=True)
    max_duration_seconds = fields.Integer(required=True, allow_none=True)
    max_cost_usd = Cost(required=True, allow_none=True)
    max_concurrent_sessions = fields.Integer(required=True, allow_none=True)
    execution = Choice(Execution, required=True)
    has_access_token = fields.Boolean(required=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)
