"""The record."""

from app.models.account import Account, Token, User
from app.models.agent_runner import AgentRunner
from app.models.agent_runner_session import AgentRunnerSession, SessionFile
from app.models.artifact_deletion import ArtifactDeletion
from app.models.audit_event import AuditEvent
from app.models.base import Base
from app.models.budget import Budget, Spending, SubjectSpending
from app.models.comparison import Comparison
from app.models.deployment import Counter, Fingerprint, HostAgent, LastRun
from app.models.event import Event
from app.models.forge_account import ForgeAccount
from app.models.forge_webhook import ForgeDelivery, ForgeWebhook
from app.models.hook import Hook, HookDelivery
from app.models.idempotency_key import IdempotencyKey
from app.models.look import Look
from app.models.preflight import Preflight
from app.models.publication import Publication
from app.models.schedule import Schedule
from app.models.site import Site
from app.models.site_branches import SiteBranches
from app.models.variable import Variable
from app.models.webhook import Webhook, WebhookDelivery

__all__ = [
    "Account",
    "AgentRunner",
    "AgentRunnerSession",
    "ArtifactDeletion",
    "AuditEvent",
    "Base",
    "Budget",
    "Comparison",
    "Counter",
    "Event",
    "Fingerprint",
    "ForgeAccount",
    "ForgeDelivery",
    "ForgeWebhook",
    "Hook",
    "HookDelivery",
    "HostAgent",
    "IdempotencyKey",
    "LastRun",
    "Look",
    "Preflight",
    "Publication",
    "Schedule",
    "SessionFile",
    "Site",
    "SiteBranches",
    "Spending",
    "SubjectSpending",
    "Token",
    "User",
    "Variable",
    "Webhook",
    "WebhookDelivery",
]
