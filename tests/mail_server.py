"""A mail server in this process, which keeps what it takes and refuses what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

# It tells of every line that it reads.
logging.getLogger("mail.log").setLevel(logging.ERROR)
USER, PASSWORD = "runners", "pass/word@mail"


@dataclass
class MailServer:
    """`refusals` has replies to commands, instead of the usual ones."""

    port: int = 0
    refusals: dict[str, str] = field(default_factory=dict)
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    signed_in: list[str | None] = field(default_factory=list)

    async def handle_MAIL(self, _: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if "MAIL" not in self.refusals:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return self.refusals.get("MAIL", "250 2.1.0 OK")

    async def handle_RCPT(self, _: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if "RCPT" not in self.refusals:
            envelope.rcpt_tos.append(address)
        return self.refusals.get("RCPT", "250 2.1.5 OK")

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:
        if "DATA" not in self.refusals:
            letter = message_from_bytes(bytes(envelope.content or b""), policy=default)
            assert isinstance(letter, EmailMessage)
            self.letters.append(letter)
            self.recipients += envelope.rcpt_tos
            self.signed_in.append(session.auth_data and session.auth_data.login.decode())
        return self.refusals.get("DATA", "250 2.0.0 Taken")


def _authenticate(_: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=False, auth_data=data)


@contextlib.contextmanager
def mail_server(tls: ssl.SSLContext | None = None, *, is_encrypted_at_once: bool = False) -> Iterator[MailServer]:
    """Listens on a free port of 127.0.0.1. With `tls` it offers STARTTLS, or is encrypted at once."""
    known = MailServer()
    options: dict[str, Any] = {"hostname": "mail.test", "authenticator": _authenticate, "auth_require_tls": False}
    if tls is not None and not is_encrypted_at_once:
        options["tls_context"] = tls
    loop = asyncio.new_event_loop()
    opened: list[tuple[Any, socket.socket]] = []

    class Protocol(SMTP):
        def connection_made(self, transport: Any) -> None:
            opened.append((transport, transport.get_extra_info("socket")))
            super().connection_made(transport)

    async def listen() -> asyncio.Server:
        return await loop.create_server(
            lambda: Protocol(known, loop=loop, **options), "127.0.0.1", 0, ssl=tls if is_encrypted_at_once else None
        )

    async def stop() -> None:
        listening.close()
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for transport, _ in opened:
            # One that was closed already may have let go of what would be aborted.
            if not transport.is_closing():
                transport.abort()
        # A protocol does not learn that its connection was lost if that was during a TLS handshake.
        while any(connection.fileno() >= 0 for _, connection in opened):
            await asyncio.sleep(0.01)

    listening = loop.run_until_complete(listen())
    known.port = listening.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield known
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
