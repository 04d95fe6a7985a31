"""Sends one e-mail by the operator's mail server."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from collections.abc import Iterator
from typing import NoReturn

from workers.certificates import trusted
from workers.mail.connections import Connection, Deadline, Server
from workers.mail.letters import Letter, domain_of

SECONDS = 15.0
"""The time for all of one e-mail, which is within a lease."""
_ENHANCED = re.compile(rb"([245]\.\d{1,3}\.\d{1,3})\b")
# RFC 3463 and 7505: no such mailbox, domain or syntax, it has moved, or the domain takes no mail.
_NO_MAILBOX = ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10")


class NotSent(Exception):
    """The mail server did not take the e-mail. The message says why, and quotes nothing of the server but its codes.

    `status` is its reply code, if it replied. `has_no_mailbox`: the recipient does not exist.
    """

    def __init__(self, message: str, status: int | None = None, *, has_no_mailbox: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.has_no_mailbox = has_no_mailbox


def send(server: Server, letter: Letter, seconds: float = SECONDS) -> int:
    """Send the e-mail, and return the reply code of the server, which has taken it. Raises NotSent."""
    content = letter.message().as_bytes()
    with _signed_in(server, letter.sender, seconds) as connection:
        _expect("the sender", *connection.mail(letter.sender_address))
        status, reply = connection.rcpt(letter.recipient)
        if status >= 500 and _enhanced(reply) in _NO_MAILBOX:
            message = f"The mail server says that there is no such mailbox: {_codes(status, reply)}."
            raise NotSent(message, status, has_no_mailbox=True)
        _expect("the recipient", status, reply)
        status = _expect("the message", *connection.data(content))
        # The server has the e-mail, however the connection ends.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            connection.quit()
        return status


def check(server: Server, sender: str, seconds: float = SECONDS) -> None:
    """Connect and sign in, and send nothing. Raises NotSent."""
    with _signed_in(server, sender, seconds) as connection:
        _expect("a greeting", *connection.noop())


@contextlib.contextmanager
def _signed_in(server: Server, sender: str, seconds: float) -> Iterator[Connection]:
    """A connection on which e-mails can be sent. What fails within the context is raised as NotSent."""
    deadline = Deadline(seconds)
    with contextlib.closing(deadline):
        try:
            with contextlib.closing(Connection(server, domain_of(sender), deadline)) as connection:
                _sign_in(connection, server)
                yield connection
        except (smtplib.SMTPException, OSError, ValueError) as error:
            if deadline.has_passed:
                raise NotSent(f"The mail server did not answer within {seconds:g} seconds.") from None
            _explain(error)


def _sign_in(connection: Connection, server: Server) -> None:
    connection.ehlo_or_helo_if_needed()
    if server.security == "starttls":
        if not connection.has_extn("starttls"):
            raise NotSent("The mail server offers no encryption (STARTTLS).")
        connection.starttls(context=trusted())
        connection.ehlo_or_helo_if_needed()
    if server.user:
        connection.login(server.user, server.password)


def _explain(error: Exception) -> NoReturn:
    """Raise the error in plain words, without those of the server, which may be anything."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        _refuse("the sign-in", error.smtp_code, error.smtp_error)
    if isinstance(error, smtplib.SMTPDataError):
        _refuse("the message", error.smtp_code, error.smtp_error)
    if isinstance(error, smtplib.SMTPResponseException):
        _refuse("the connection", error.smtp_code, error.smtp_error)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        raise NotSent("The mail server offers no supported way to sign in.") from None
    if isinstance(error, ssl.SSLCertVerificationError):
        raise NotSent("The certificate of the mail server was not accepted.") from None
    reason = "refused the connection" if isinstance(error, ConnectionRefusedError) else "did not answer"
    raise NotSent(f"The mail server {reason}.") from None


def _expect(what: str, status: int, reply: bytes) -> int:
    if not 200 <= status < 300:
        _refuse(what, status, reply)
    return status


def _refuse(what: str, status: int, reply: bytes | str) -> NoReturn:
    data = reply if isinstance(reply, bytes) else reply.encode(errors="replace")
    raise NotSent(f"The mail server refused {what}: {_codes(status, data)}.", status if status > 0 else None) from None


def _codes(status: int, reply: bytes) -> str:
    return f"{status} {_enhanced(reply)}".rstrip()


def _enhanced(reply: bytes) -> str:
    found = _ENHANCED.match(reply)
    return found[1].decode() if found else ""
