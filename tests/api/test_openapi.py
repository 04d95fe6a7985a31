"""The API's description of itself."""

from __future__ import annotations

import re

import pytest

from app.schemas import glossary
from app.schemas.event import EventSchema
from tests.application import application
from tests.conftest import forget_settings

VERBS = ("get", "post", "put", "patch", "delete")
# The signature of a URL or of a body is the permission, or none is needed.
OPEN = ("/api/v1/blobs/", "/api/v1/hooks/", "/api/v1/forge_webhooks/", "/api/v1/docs")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The application without a database behind it, which describing needs not."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AGENT_RUNNERS_DATA_DIR", str(tmp_path_factory.mktemp("data")))
    forget_settings()
    yield application().test_client()
    patch.undo()
    forget_settings()


@pytest.fixture(scope="module")
def description(client):
    return client.get("/api/v1/openapi.json").json


@pytest.fixture(scope="module")
def operations(description):
    return {
        operation["operationId"]: (verb, path, operation)
        for path, item in description["paths"].items()
        for verb, operation in item.items()
        if verb in VERBS
    }


def test_it_is_valid_openapi_3_1(description):
    # It takes a while to import, and no other test needs it.
    from openapi_spec_validator import validate

    validate(description)
    assert description["openapi"].startswith("3.1")


def test_every_operation_says_what_it_does_and_how_it_refuses(operations):
    for name, (verb, path, operation) in operations.items():
        assert operation["summary"].endswith("."), name
        assert {"400", "401", "403", "404", "413", "415", "422", "429", "500"} <= set(operation["responses"]), name
        names = [parameter["name"] for parameter in operation["parameters"]]
        assert "X-Request-Id" in names and (verb == "post") == ("Idempotency-Key" in names), name
        is_open = not path.startswith("/api/v1") or path.startswith(OPEN)
        assert (operation.get("security") == []) == is_open, name


def test_everything_in_it_is_described(description, operations):
    missing = [tag["name"] for tag in description["tags"] if not tag.get("description")]
    for name, schema in description["components"]["schemas"].items():
        missing += [] if schema.get("description") else [name]
        missing += [f"{name}.{field}" for field, about in schema["properties"].items() if not about.get("description")]
    for path, item in description["paths"].items():
        missing += [f"{path} {about['name']}" for about in item.get("parameters", []) if not about.get("description")]
    for name, (_, _, operation) in operations.items():
        missing += [] if operation.get("description") else [name]
        missing += [f"{name} {about['name']}" for about in operation["parameters"] if not about.get("description")]
    assert missing == []


def test_the_glossary_describes_nothing_that_is_not_there(description, operations):
    shown = {about for schema in description["components"]["schemas"].values() for about in texts(schema["properties"])}
    for _, _, operation in operations.values():
        shown |= {about["description"] for about in operation["parameters"]}
    shown |= set(texts({name: field.metadata for name, field in EventSchema().fields.items()}))
    unused = {entry for entry, text in glossary.FIELDS.items() if text not in shown}
    assert unused == set()


def texts(properties):
    return [about["description"] for about in properties.values()]


def test_every_json_has_an_example(operations):
    for name, (_, path, operation) in operations.items():
        bodies = [operation.get("requestBody", {})]
        bodies += [response for status, response in operation["responses"].items() if status.startswith("2")]
        for body in bodies:
            for kind, media in body.get("content", {}).items():
                if kind == "application/json" and path.startswith("/api/v1"):
                    assert "example" in media, name


def test_examples_have_the_fields_that_they_are_examples_of(description, operations):
    for name, (_, path, operation) in operations.items():
        for status, response in operation["responses"].items():
            media = response.get("content", {}).get("application/json", {})
            if not status.startswith("2") or not path.startswith("/api/v1"):
                continue
            schema, example = media.get("schema", {}), media.get("example")
            if schema.get("type") == "array":
                schema, example = schema["items"], example[0]
            if "$ref" in schema:
                fields = description["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]["properties"]
                assert set(example) == set(fields), name


def test_links_go_from_a_created_runner_to_its_diff(operations):
    links = operations["createAgentRunner"][2]["responses"]["201"]["links"]
    followed = {link["operationId"] for link in links.values()}
    assert {"getAgentRunner", "listSessions", "getSession", "getAgentRunnerDiff", "createSession"} <= followed
    for _, _, operation in operations.values():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                _, path, _ = operations[link["operationId"]]
                assert set(link.get("parameters", {})) == set(re.findall(r"\{(\w+)\}", path)) or "requestBody" in link


def test_the_page_needs_nothing_from_another_host(client):
    page = client.get("/api/v1/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for part in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        if not part.startswith("data:"):
            assert not part.startswith(("http", "//"))
            assert client.get(f"/api/v1/{part}").status_code == 200, part
    assert client.get("/api/v1/docs/other.js").status_code == 404
