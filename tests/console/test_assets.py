"""What the console ships: unchanged files of others, and addresses that browsers may keep."""

from __future__ import annotations

import gzip
import hashlib
import re

import pytest

from app.console import assets

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")
VENDORED = {
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-sse.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
    "hx-csp.min.js": "a7e1e6711ae6c3e50ad300fba7936cbe8d07599cdae313414a179ddd6b26e143",
}


def test_files_of_others_are_unchanged_and_their_licence_is_noted(database_url):
    folder = assets.FOLDER / "vendor"
    note = (folder / "LICENSES.txt").read_text()
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.js")}
    assert found == VENDORED
    assert "htmx.org 4.0.1" in note and all(digest in note for digest in found.values())


def test_all_files_together_are_small(database_url):
    assert sum(len(gzip.compress(content)) for content in assets.files().values()) < 60_000


def test_files_are_kept_by_browsers_under_the_address_of_their_release(app):
    client = app.test_client()
    for path in set(re.findall(r'"(/assets/[^"]+)"', client.get("/sign-in").text)):
        response = client.get(path)
        assert response.status_code == 200 and "immutable" in response.headers["Cache-Control"], path
    assert client.get("/assets/older/console.css").headers["Cache-Control"] == "no-cache"
    assert client.get(f"/assets/{assets.version()}/../blueprint.py").status_code == 404
