"""Signing in and out, and what a page, a form and a cookie may do."""

from __future__ import annotations

import re

import pytest

from app.models.states import Scope
from tests.api.calling import created, ok, path_of, refused
from tests.console.browser import Browser

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")


def cookie(response):
    return response.headers["Set-Cookie"]


def test_without_a_session_every_page_leads_to_the_sign_in(app):
    response = app.test_client().get("/sites?page=2")
    assert (response.status_code, response.headers["Location"]) == (303, "/sign-in?next=/sites?page%3D2")
    assert app.test_client().get("/events").status_code == 401


def test_a_token_signs_in_and_leads_back(app, ada):
    browser = Browser(app.test_client())
    response = browser.post("/sign-in", token=f" {ada.admin.token}\n", next="/sites?page=2")
    assert (response.status_code, response.headers["Location"]) == (303, "/sites?page=2")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie(response).split("; "))
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: y", ""])
def test_signing_in_leads_to_no_other_host(app, ada, target):
    response = Browser(app.test_client()).post("/sign-in", token=ada.admin.token, next=target)
    assert response.headers["Location"] == "/"


def test_the_cookie_is_for_https_alone_where_the_deployment_has_it(app, ada, configure):
    configure(PUBLIC_URL="https://runners.example.org")
    client = app.test_client()
    page = client.get("/sign-in", base_url="https://runners.example.org")
    assert cookie(page).startswith("__Host-") and "Secure" in cookie(page)


def test_failed_sign_ins_are_limited_as_those_of_the_api(app, ada, configure):
    configure(MAX_FAILED_AUTHENTICATIONS_PER_MINUTE="2")
    browser = Browser(app.test_client())

    def are_limited_together() -> bool:
        signed_in = [browser.post("/sign-in", token=f"ar_wrong{number}").status_code for number in range(3)]
        asked = ada.admin.with_token("ar_wrong").get("/sites")
        return signed_in[-1] == 429 and asked.status_code == 429

    # Where a new minute begins between them, some more pass.
    assert any(are_limited_together() for _ in range(2))
    assert browser.post("/sign-in", token=ada.admin.token).status_code == 303


def test_a_session_is_no_token_of_the_api_and_a_token_no_session(app, ada, browser):
    text = browser.client.get_cookie("agent-runners").value
    refused(ada.admin.with_token(text).get("/sites"), 401, "bad_token")
    assert browser.get("/api/v1/sites").status_code == 401
    other = app.test_client()
    other.set_cookie("agent-runners", ada.admin.token)
    assert other.get("/").status_code == 303
    assert [token["name"] for token in ok(ada.admin.get("/tokens"))] == ["first token"]


def test_a_session_ends_by_signing_out(browser):
    text = browser.client.get_cookie("agent-runners").value
    assert browser.post("/sign-out").status_code == 303
    browser.client.set_cookie("agent-runners", text)
    assert browser.get("/").status_code == 303


def test_signing_out_everywhere_ends_all_sessions_and_no_token(ada, browser, sign_in, join):
    second, eve = sign_in(ada), sign_in(join("Eve"))
    assert browser.post("/sign-out", everywhere="1").status_code == 303
    assert second.get("/").status_code == 303
    assert eve.get("/").status_code == 200 and ada.admin.get("/sites").status_code == 200


def test_a_session_ends_with_its_token(app, ada):
    token = created(ada.admin.post("/tokens", {"name": "laptop", "scope": "write"}))
    browser = Browser(app.test_client())
    browser.post("/sign-in", token=token["token"])
    assert browser.get("/").status_code == 200
    ada.admin.delete(f"/tokens/{token['id']}")
    assert browser.get("/").status_code == 303


def test_a_session_may_do_what_its_token_may(app, ada, make_runner):
    runner = make_runner()
    browser = Browser(app.test_client())
    browser.post("/sign-in", token=ada.holding(Scope.READ).token)
    assert browser.get(f"/runners/{runner['id']}").status_code == 200
    response = browser.post(f"/runners/{runner['id']}/stop")
    assert response.status_code == 403 and "needs the scope write" in response.text


def test_a_link_signs_in_once(app, ada):
    link = created(ada.admin.post("/console_links"))["url"]
    assert link.startswith("http://testserver/sign-in?code=")
    code = link.partition("=")[2]
    browser = Browser(app.test_client())
    assert browser.get(f"/sign-in?code={code}").status_code == 200, "reading a link does not use it up"
    assert browser.post("/sign-in", code=code).status_code == 303
    again = Browser(app.test_client()).post("/sign-in", code=code)
    assert again.status_code == 401 and "This link was used already" in again.text
    assert Browser(app.test_client()).post("/sign-in", token=code).status_code == 401
    refused(ada.admin.with_token(code).get("/sites"), 401, "bad_token")


@pytest.mark.parametrize("sent", ["", "0" * 64, "of another browser"])
def test_a_form_of_another_page_is_refused(browser, sign_in, ada, make_runner, api, sent):
    runner = make_runner()
    csrf = sign_in(ada).csrf() if sent == "of another browser" else sent
    response = browser.client.post(f"/runners/{runner['id']}/stop", data={"csrf": csrf})
    assert response.status_code == 403 and "another site" in response.text
    assert ok(api.get(path_of(runner)))["state"] == "NEW"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil.example"])
def test_a_form_of_another_origin_is_refused(browser, make_runner, origin):
    response = browser.post(f"/runners/{make_runner()['id']}/stop", headers={"Origin": origin})
    assert response.status_code == 403
    assert browser.post("/theme", headers={"Origin": "http://testserver"}).status_code == 303


def test_every_post_needs_the_token_of_a_form(app, browser):
    rules = [
        rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("console.") and "POST" in rule.methods
    ]
    assert len(rules) > 10
    for rule in rules:
        values = dict.fromkeys(rule.arguments, "0197c1de-0000-7000-8000-000000000001") | {"number": 0, "verb": "delete"}
        _, path = rule.build({name: values[name] for name in rule.arguments})
        assert browser.client.post(path).status_code == 403, path


def test_what_belongs_to_another_account_is_not_found(app, browser, join, sign_in, make_done_runner):
    runner = make_done_runner()
    ids = {
        "runner_id": runner["id"],
        "session_id": runner["latest_session_id"],
        "site_id": runner["site_id"],
        "number": 0,
        "side": "after",
        "verb": "delete",
    }
    eve, tried = sign_in(join("Eve")), 0
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("console.") and rule.arguments & {"runner_id", "site_id"}:
            _, path = rule.build({name: ids.get(name, runner["id"]) for name in rule.arguments})
            methods = rule.methods & {"GET", "POST"}
            for method in methods:
                response = (
                    eve.get(path) if method == "GET" else eve.post(path, prompt="x", target_branch="x", title="x")
                )
                assert response.status_code == 404, (method, path, response.status_code)
                assert "hello.txt" not in response.text and "Say hello" not in response.text
                tried += 1
    assert tried >= 18
    assert browser.get(f"/runners/{runner['id']}").status_code == 200


def test_pages_load_nothing_from_elsewhere_and_run_no_script_of_their_text(browser):
    response = browser.get("/")
    policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    nonce = re.fullmatch(r"'nonce-([\w-]{20,})'", policy["script-src"])
    assert nonce is not None and set(re.findall(r'nonce="([\w-]+)"', response.text)) == {nonce[1]}
    expected = {"default-src": "'none'", "style-src": "'self'", "connect-src": "'self'", "frame-ancestors": "'none'"}
    assert expected.items() <= policy.items() and policy["require-trusted-types-for"] == "'script'"
    assert nonce[1] not in browser.get("/").headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-store" and response.headers["X-Frame-Options"] == "DENY"
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]* src=)", response.text)
