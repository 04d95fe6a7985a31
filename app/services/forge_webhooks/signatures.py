"""Whether a delivery comes from the forge that has the secret of the webhook."""

from __future__ import annotations

import hmac

from app.models.states import Forge
from app.services.hooks.authenticity import Request, equal, has_standard_signature


def is_authentic(forge: Forge, request: Request, secret: str) -> bool:
    """Whether the request is signed with the secret, in the way of this kind of forge alone.

    * GitHub: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    * GitLab: https://docs.gitlab.com/user/project/integrations/webhooks/, a signature or the secret itself
    * Bitbucket: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
    * Gitea: https://docs.gitea.com/usage/webhooks, Forgejo: https://forgejo.org/docs/latest/user/webhooks/
    """
    digest = hmac.new(secret.encode(), request.body, "sha256").hexdigest()
    if forge == Forge.GITHUB:
        return equal(request.header("X-Hub-Signature-256") or "", f"sha256={digest}")
    if forge == Forge.BITBUCKET:
        return equal(request.header("X-Hub-Signature") or "", f"sha256={digest}")
    if forge == Forge.GITEA:
        return equal(request.header("X-Forgejo-Signature") or request.header("X-Gitea-Signature") or "", digest)
    if forge == Forge.GITLAB:
        if request.header("webhook-signature"):
            return has_standard_signature(request, secret)
        return equal(request.header("X-Gitlab-Token") or "", secret)
    return False
