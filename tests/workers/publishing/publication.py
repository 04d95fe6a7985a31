"""What is published in tests: one commit on a branch."""

from __future__ import annotations

from pathlib import Path

from app.redaction.secrets import Secrets
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import Change
from workers.publishing.publish import PublishJob


def publication(origin: Path | str, base: str, branch: str) -> PublishJob:
    """A commit on `branch` that adds a file."""
    diff = b"diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n"
    change = Change("Ada", "ada@example.org", 1_700_000_000, "Add a file\n\nBecause.", lambda: iter([diff]))
    return PublishJob(
        site_id="site",
        repo_url=str(origin),
        base_sha=base,
        branch=branch,
        base_branch="main",
        changes=(change,),
        last=change,
        lifeline=Lifeline(600),
        on_push=lambda sha: None,
        secrets=Secrets(None),
    )
