"""Metrics for Prometheus: `/metrics`. They cover all accounts, so the endpoint has a token of its own."""

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
from app.config import settings
from app.deployment_secrets import made_once, made_once_file
from app.errors import Unauthorized
from app.services import metrics
from app.services.metrics import Measured
from app.streams import admission

blp = Blueprint("Metrics", __name__, description="Metrics for Prometheus.", is_open=True)

_COUNTERS = {
    "egress_refused": ("Connections of agents that the egress proxy refused.", None),
    "mirrors_recreated": ("Copies of repositories that were damaged and recreated.", None),
    "workers_lost": ("Attempts whose lease expired.", None),
    "sessions_ended": ("Sessions that ended.", "state"),
    "sessions_failed": ("Sessions that ended in ERROR.", "code"),
}
"""The help text of each counter, and its label. The label's value follows a slash in the stored counter's name."""


@blp.route("/metrics")
class Metrics(MethodView):
    @blp.operation("getMetrics")
    @blp.response(200, {"type": "string"}, content_type="text/plain")
    def get(self) -> Response:
        """Get metrics for Prometheus.

        Only the token in `AGENT_RUNNERS_METRICS_TOKEN` is accepted, not a token of the API.
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
        message = (
            "The token for metrics is missing or wrong. Send the header Authorization: Bearer <token> with the value of "
            "AGENT_RUNNERS_METRICS_TOKEN or, if that is not set, of the file metrics.token in the data folder."
        )
        raise Unauthorized(message, error_code="bad_token", headers={"WWW-Authenticate": "Bearer"})


class _Collector(Collector):
    """The measurements as Prometheus metrics."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        found = self._measured
        if found.sweep_age_seconds is not None:
            yield _gauge("sweep_age_seconds", "Seconds since the last sweep completed.", found.sweep_age_seconds)
        sessions = GaugeMetricFamily("agent_runners_sessions", "Sessions that have not ended.", labels=["state"])
        for state, count in found.sessions.items():
            sessions.add_metric([state], count)
        yield sessions
        yield _gauge(
            "oldest_waiting_seconds", "How long the oldest waiting session has waited.", found.oldest_waiting_seconds
        )
        yield _gauge("expired_leases", "Running sessions whose lease has expired.", found.expired_leases)
        yield _gauge("pending_publications", "Pull requests and commits in progress.", found.pending_publications)
        yield _gauge("event_streams", "Event streams that are open on the web process that answers.", admission.count())
        for name, (help_text, label) in _COUNTERS.items():
            yield self._counter(name, help_text, label)

    def _counter(self, name: str, help_text: str, label: str | None) -> Metric:
        counter = CounterMetricFamily(f"agent_runners_{name}", help_text, labels=[label] if label else [])
        counted = self._measured.counted
        if label is None:
            counter.add_metric([], counted.get(name, 0))
        for stored_name, count in sorted(counted.items()):
            kind, slash, value = stored_name.partition("/")
            if slash and kind == name:
                counter.add_metric([value], count)
        return counter


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"agent_runners_{name}", help_text, value=value)
