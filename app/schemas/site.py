"""Sites in JSON."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import Execution, Forge, OnQuota, SensitiveFiles
from app.schemas.base import Body, Query, Schema
from app.schemas.choices import Choice
from app.schemas.fields import NOT_BLANK, Amount, Cost, Flag, Line, Moment, Names, Pattern, Text, Whole, items

HOST = Pattern(
    r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$",
    error="must be a host name: host, *.host or host:port",
)

AGENT = Pattern(
    r"^[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9][A-Za-z0-9._:/@+\[\]()-]*)?$", error="must be an agent, or agent:model"
)

PATH = Pattern(r"^[^/\x00]+(/[^/\x00]+)*$", error="must be a path in the repository: folder/file")


FOLDER = Pattern(
    r"^(?!(.*/)?\.{1,2}(/|$))[^/\x00-\x1f\x7f]+(/[^/\x00-\x1f\x7f]+)*/?$",
    error="must be a folder in the repository, such as services/shop, without . and ..",
)


SERVER = Pattern("^[a-z][a-z0-9]*$", error="must have only lower-case letters and digits, and begin with a letter")

VARIABLE = Pattern("^[A-Za-z_][A-Za-z0-9_]*$", error="must be the name of a variable")

TOOL = Pattern("^[A-Za-z0-9_.-]+$", error="must be the name of a tool")


class McpServerBody(Body):
    """A server of tools: a `url`, or a `command` that runs in the sandbox."""

    name = Text(30, least=1, required=True, validate=[SERVER], metadata={"example": "linear"})
    url = Text(2000, least=1, allow_none=True, metadata={"example": "https://mcp.example.org/mcp"})
    command = fields.List(Text(1000, least=1), allow_none=True, validate=items(50))
    credential = Text(100, least=1, allow_none=True, validate=[VARIABLE])
    variables = fields.List(Text(100, least=1, validate=[VARIABLE]), allow_none=True, validate=items(20))
    disabled_tools = fields.List(Text(100, least=1, validate=[TOOL]), allow_none=True, validate=items(100))


class UpdateSiteBody(Body):
    """What can be changed about a site."""

    name = Line(200, least=1, validate=[NOT_BLANK], metadata={"example": "shop"})
    repo_url = Text(2000, least=1, metadata={"example": "https://github.com/example/shop.git"})
    default_branch = Text(255, least=1, allow_none=True, metadata={"example": "main"})
    forge = Choice(Forge)
    forge_api_url = Text(2000, least=1, allow_none=True)
    default_agent = Text(100, least=1, allow_none=True)
    default_model = Text(200, least=1, allow_none=True)
    fallback_agents = fields.List(
        Text(300, least=1, validate=[AGENT]),
        allow_none=True,
        validate=items(10),
        metadata={"example": ["codex", "gemini:gemini-2.5-pro"]},
    )
    on_quota = Choice(OnQuota)
    setup_command = Text(65_536, allow_none=True)
    setup_cache_files = fields.List(
        Text(1000, least=1, validate=[PATH]),
        allow_none=True,
        validate=items(100),
        metadata={"example": ["package-lock.json"]},
    )
    sparse_paths = fields.List(
        Text(1000, least=1, validate=[FOLDER]),
        allow_none=True,
        validate=items(100),
        metadata={"example": ["services/shop", "libs"]},
    )
    partial_clone = Flag()
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
    sensitive_files = Choice(SensitiveFiles)
    pr_branch_pattern = Text(
        120, least=1, allow_none=True, metadata={"example": "agents/{{ user }}/{{ slug }}-{{ id }}"}
    )
    pr_title_template = Text(
        255, least=1, allow_none=True, validate=[NOT_BLANK], metadata={"example": "[agent] {{ title }}"}
    )
    pr_body_template = Text(10_000, least=1, allow_none=True, metadata={"example": "{{ sessions }}\n\n{{ url }}"})
    pr_labels = Names(allow_none=True, metadata={"example": ["agent"]})
    pr_reviewers = Names(allow_none=True, metadata={"example": ["ada", "acme/backend"]})
    pr_assignees = Names(allow_none=True, metadata={"example": ["ada"]})
    pr_status = Flag()
    mcp_servers = fields.List(fields.Nested(McpServerBody), allow_none=True, validate=items(20))
    max_duration_seconds = Whole(least=1, allow_none=True)
    max_cost_usd = Amount(above=0, allow_none=True)
    max_concurrent_sessions = Whole(least=1, allow_none=True)
    execution = Choice(Execution)
    access_token = Text(10_000, least=1, allow_none=True)


class CreateSiteBody(UpdateSiteBody):
    """A repository to work on."""

    repo_url = Text(2000, least=1, required=True, metadata={"example": "https://github.com/example/shop.git"})


class McpServerSchema(Schema):
    """A server of tools that agents use."""

    name = fields.String(required=True)
    url = fields.String(required=True, allow_none=True)
    command = fields.List(fields.String(), required=True)
    credential = fields.String(required=True, allow_none=True)
    variables = fields.List(fields.String(), required=True)
    disabled_tools = fields.List(fields.String(), required=True)


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
    fallback_agents = fields.List(fields.String(), required=True, allow_none=True)
    on_quota = Choice(OnQuota, required=True)
    setup_command = fields.String(required=True, allow_none=True)
    setup_cache_files = fields.List(fields.String(), required=True, allow_none=True)
    sparse_paths = fields.List(fields.String(), required=True, allow_none=True)
    partial_clone = fields.Boolean(required=True)
    protected_branches = fields.List(fields.String(), required=True, attribute="protected")
    egress_hosts = fields.List(fields.String(), required=True)
    allow_agent_configuration = fields.Boolean(required=True)
    sensitive_files = Choice(SensitiveFiles, required=True)
    pr_branch_pattern = fields.String(required=True, allow_none=True)
    pr_title_template = fields.String(required=True, allow_none=True)
    pr_body_template = fields.String(required=True, allow_none=True)
    pr_labels = fields.List(fields.String(), required=True, allow_none=True)
    pr_reviewers = fields.List(fields.String(), required=True, allow_none=True)
    pr_assignees = fields.List(fields.String(), required=True, allow_none=True)
    pr_status = fields.Boolean(required=True)
    mcp_servers = fields.List(fields.Nested(McpServerSchema), required=True, allow_none=True)
    max_duration_seconds = fields.Integer(required=True, allow_none=True)
    max_cost_usd = Cost(required=True, allow_none=True)
    max_concurrent_sessions = fields.Integer(required=True, allow_none=True)
    execution = Choice(Execution, required=True)
    has_access_token = fields.Boolean(required=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)


class BranchesQuery(Query):
    """Which branches are wanted."""

    contains = Text(255, load_default="", metadata={"description": "Text in the name, in any case."})


class BranchesSchema(Schema):
    """Names of branches."""

    names = fields.List(fields.String(), required=True)
    listed_at = Moment(required=True, allow_none=True)
