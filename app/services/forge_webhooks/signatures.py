"""Whether a delivery comes from the forge that has the secret of the webhook."""

from __future__ import annotations

import base64
import hmac

from app.models.states import Forge
from app.services.hooks.authenticity import Request, equal, has_standard_signature


def is_authentic(forge: Forge, request: Request, secret: str) -> bool:
    """Whether the request is signed with the secret, or has it, in the way of this kind of forge alone.

    * GitHub: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    * GitLab: https://docs.gitlab.com/user/project/integrations/webhooks/, a signature or the secret itself
    * Bitbucket: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/ and
      https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html
    * Gitea: https://docs.gitea.com/usage/webhooks, Forgejo: https://forgejo.org/docs/latest/user/webhooks/
    * Azure DevOps: https://learn.microsoft.com/azure/devops/service-hooks/services/webhooks, the secret as a password
    """
    digest = hmac.new(secret.encode(), request.body, "sha256").hexdigest()
    if forge == Forge.GITHUB:
        return equal(request.header("X-Hub-Signature-256") or "", f"sha256={digest}")
    if forge in (Forge.BITBUCKET, Forge.BITBUCKET_DATA_CENTER):
        return equal(request.header("X-Hub-Signature") or "", f"sha256={digest}")
    if forge == Forge.GITEA:
        return equal(request.header("X-Forgejo-Signature") or request.header("X-Gitea-Signature") or "", digest)
    if forge == Forge.GITLAB:
        if request.header("webhook-signature"):
            return has_standard_signature(request, secret)
        return equal(request.header("X-Gitlab-Token") or "", secret)
    if forge == Forge.AZURE_DEVOPS:
        return equal(_password(request.header("Authorization") or ""), secret)
    return False


def _password(authorization: str) -> str:
    """The password of RFC 7617, with any user name; empty if there is none."""
    scheme, _, pair = authorization.partition(" ")
    try:
        decoded = base64.b64decode(pair, validate=True).decode()
    except ValueError:
        return ""
    return decoded.partition(":")[2] if scheme.lower() == "basic" else ""
