"""An e-mail, with the headers that tell programs where it belongs and that no person wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from email.headerregistry import Address, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import localtime, parseaddr


class _Verbatim(UnstructuredHeader):
    """A header of one long word, which programs would not find again if the library folded it."""

    name: str

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
for _name in ("references", "list-unsubscribe"):
    _HEADERS.map_to_type(_name, _Verbatim)  # type: ignore[arg-type]
# Every mail server takes bytes of 7 bits.
_POLICY = SMTP.clone(cte_type="7bit", header_factory=_HEADERS)


@dataclass(frozen=True)
class Letter:
    """An e-mail. `event_id` is the same each time that it is sent, and `runner_id` that of all in one conversation.

    `sender` may have a name, as in `Agent Runners <runners@example.org>`. On `page` the recipient can stop it.
    """

    sender: str
    recipient: str
    subject: str
    text: str
    event_id: str
    runner_id: str
    page: str

    @property
    def sender_address(self) -> str:
        return parseaddr(self.sender)[1]

    def message(self) -> EmailMessage:
        """What is sent. Raises ValueError for a line end in a header, so that none can begin another header."""
        name, address = parseaddr(self.sender)
        domain = domain_of(self.sender)
        message = EmailMessage(_POLICY)
        message["From"] = Address(name, addr_spec=address)
        message["To"] = Address(addr_spec=self.recipient)
        message["Subject"] = self.subject
        message["Date"] = localtime()
        message["Message-ID"] = f"<{self.event_id}@{domain}>"
        # Mail programs show what is about one runner together.
        message["References"] = f"<runner-{self.runner_id}@{domain}>"
        message["List-Unsubscribe"] = f"<{self.page}>"
        # RFC 3834: no machine is to answer this.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(f"{self.text}\n\n-- \nA webhook sends you this. Change or stop it: {self.page}\n")
        return message


def domain_of(sender: str) -> str:
    """The domain of a sender's address."""
    return parseaddr(sender)[1].rpartition("@")[2]
