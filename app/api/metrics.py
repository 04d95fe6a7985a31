"""What operators watch, in the format of Prometheus: `/metrics`. It tells of all accounts, so it has a token of its own."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator

from flask import Response, request
from flask.views import MethodView
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from app import db
from app.api.blueprint import Blueprint
from app.config import made_once_file, settings
from app.errors import Unauthorized
from app.keys import made_once
from app.services import metrics
from app.services.metrics import Measured

blp = Blueprint("Metrics", __name__, description="Numbers for Prometheus.", is_open=True)

_COUNTERS = {
    "egress_refused": ("Connections of agents that their proxies refused.", None),
    "workers_lost": ("Attempts whose worker let its lease run out.", None),
    "sessions_ended": ("Sessions that came to an end.", "state"),
    "sessions_failed": ("Sessions that ended in ERROR.", "code"),
}
"""What is counted, and the label that stands behind a slash in the counter's name."""


@blp.route("/metrics")
class Metrics(MethodView):
    @blp.operation("getMetrics")
    @blp.response(200, {"type": "string"}, content_type="text/plain")
    def get(self) -> Response:
        """Get metrics for Prometheus.

        It takes the token of `AGENT_RUNNERS_METRICS_TOKEN` alone, not one of the API.
        """
        _check_token()
        with db.transaction(read_only=True):
            measured = metrics.measure()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(measured))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _check_token() -> None:
    file = made_once_file(settings(), "metrics_token")
    wanted = settings().metrics_token or made_once(file, secrets.token_urlsafe(32))
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.strip().encode(), wanted.strip().encode()):
        raise Unauthorized("send the token for metrics", error_code="bad_token", headers={"WWW-Authenticate": "Bearer"})


class _Collector(Collector):
    """What was measured, as families of metrics."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        found = self._measured
        if found.sweep_age_seconds is not None:
            yield _gauge("sweep_age_seconds", "Time since the last sweep came to its end.", found.sweep_age_seconds)
        sessions = GaugeMetricFamily("agent_runners_sessions", "Sessions that are not over.", labels=["state"])
        for state, number in found.sessions.items():
            sessions.add_metric([state], number)
        yield sessions
        yield _gauge("oldest_waiting_seconds", "How long the oldest session waits.", found.oldest_waiting_seconds)
        yield _gauge("expired_leases", "Running sessions whose worker does not beat.", found.expired_leases)
        yield _gauge("pending_publications", "Pull requests and commits being made.", found.pending_publications)
        for name, (words, label) in _COUNTERS.items():
            yield self._counter(name, words, label)

    def _counter(self, name: str, words: str, label: str | None) -> Metric:
        counter = CounterMetricFamily(f"agent_runners_{name}", words, labels=[label] if label else [])
        counted = self._measured.counted
        if label is None:
            counter.add_metric([], counted.get(name, 0))
        for each, number in sorted(counted.items()):
            kind, slash, value = each.partition("/")
            if slash and kind == name:
                counter.add_metric([value], number)
        return counter


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"agent_runners_{name}", words, value=value)
