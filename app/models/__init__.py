"""The record."""

from app.models.account import Account, Token, User
from app.models.agent_runner import AgentRunner
from app.models.agent_runner_session import AgentRunnerSession, SessionFile
from app.models.base import Base
from app.models.deployment import Counter, Fingerprint, HostAgent, LastRun
from app.models.event import Event
from app.models.idempotency_key import IdempotencyKey
from app.models.publication import Publication
from app.models.site import Site
from app.models.webhook import Webhook, WebhookDelivery

__all__ = [
    "Account",
    "AgentRunner",
    "AgentRunnerSession",
    "Base",
    "Counter",
    "Event",
    "Fingerprint",
    "HostAgent",
    "IdempotencyKey",
    "LastRun",
    "Publication",
    "SessionFile",
    "Site",
    "Token",
    "User",
    "Webhook",
    "WebhookDelivery",
]
