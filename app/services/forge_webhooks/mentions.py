"""Comments and reviews that ask for something by mentioning the trigger name of the site."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.models import ForgeWebhook

# What is quoted, or is code, was not said by the author.
_QUOTED = re.compile(
    r"^ {0,3}>[^\n]*$|^ {0,3}(?P<fence>`{3,}|~{3,}).*?(?:^ {0,3}(?P=fence)[^\n]*$|\Z)|`[^`\n]*`", re.M | re.S
)


def mentions(text: str, name: str) -> bool:
    """Whether the text mentions the name, in any case, outside quotations and code."""
    own = _QUOTED.sub("", text.replace("\r\n", "\n"))
    return bool(re.search(rf"(?<![\w@/.-]){re.escape(name)}(?![\w/-])", own, re.IGNORECASE))


@dataclass(frozen=True)
class Remarks:
    """What somebody submitted, as the forge shows it now."""

    author: str
    is_person: bool
    """Neither a bot nor Agent Runners itself."""
    may_write: bool | None
    text: str
    prompt: str
    """What it asks of an agent."""
    is_open: bool
    """Whether the pull request is."""
    head_sha: str

    def reason_to_ignore(self, webhook: ForgeWebhook) -> str | None:
        """Why nothing is done for it, if that is so."""
        name = webhook.trigger_name
        if not self.is_person:
            return "It was not written by a person."
        if not mentions(self.text, name):
            return f"It does not mention {name}."
        if reason := webhook.reason_to_refuse(self.author, self.may_write):
            return reason
        return None if self.is_open else "The pull request is closed."
