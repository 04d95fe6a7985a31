"""A secret that a site binds to a host is no way to what the operator allows the gateway alone."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import httpx

from tests.listening import Listener
from workers.egress.gateway.process import open_gateway
from workers.egress.gateway.providers import Provider
from workers.job import BoundSecret, Host


def test_it_does_not_reach_the_private_server_of_a_model(tmp_path: Path) -> None:
    """There it would make calls that nobody counts, and any request to a private address."""
    reached: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            reached.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    with Listener(serve) as listener:
        url = f"http://127.0.0.1:{listener.port}"
        model = Provider("openai", "OPENAI_BASE_URL", f"{url}/v1", {"OPENAI_API_KEY": "key-0123456789"})
        secret = BoundSecret("SHOP", url, "Authorization", "Bearer ", "secret-0123456789")
        gateway = open_gateway(Host(tmp_path, sandbox="none"), [model], [secret])
        gateway.start(lambda report: True)
        with contextlib.closing(gateway), httpx.Client(trust_env=False, timeout=60) as http:
            answer = http.post(f"{gateway.variables['SHOP_URL']}/v1/chat/completions", json={"model": "m"})
            assert answer.status_code == 502 and "private address" in answer.json()["error"]
            assert reached == []
            headers = {"Authorization": f"Bearer {gateway.variables['OPENAI_API_KEY']}"}
            address = f"{gateway.variables['OPENAI_BASE_URL']}/chat/completions"
            assert http.post(address, json={"model": "m", "messages": []}, headers=headers).status_code == 200
    assert [b"key-0123456789" in request for request in reached] == [True]
