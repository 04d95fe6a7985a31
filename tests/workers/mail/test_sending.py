"""E-mails through a real mail server in this process, and through ones that behave badly."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.certificates import certificate, server_context
from tests.listening import Listener
from tests.mail_server import PASSWORD, USER, MailServer, mail_server
from workers.mail.connections import Server
from workers.mail.letters import Letter
from workers.mail.sending import NotSent, check, send

LETTER = Letter(
    sender="Agent Runners <runners@example.org>",
    recipient="ada@example.org",
    subject="Done: Add a health endpoint. ✓",
    text="Done.\n\n.\n\nAdd a health endpoint. ✓",
    event_id="0197c1de-0000-7000-8000-000000000008",
    runner_id="0197c1de-0000-7000-8000-000000000003",
    page="https://agents.example.org/account/webhooks/0197c1de-0000-7000-8000-000000000006",
)
SIGNED = f"{USER}:{quote(PASSWORD, safe='')}"


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server encrypts with that programs of this machine trust."""
    path = certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return server_context(path)


def server(url: str) -> Server:
    return Server.parse(url)


def encrypted(mail: MailServer) -> Server:
    """STARTTLS although the server is on this machine, where nothing else would need it."""
    return Server("localhost", mail.port, "starttls", USER, PASSWORD)


def refused(to: Server, letter: Letter = LETTER, seconds: float = 60.0) -> NotSent:
    with pytest.raises(NotSent) as error:
        send(to, letter, seconds)
    assert PASSWORD not in str(error.value) and PASSWORD not in repr(to)
    return error.value


def test_an_e_mail_says_whose_it_is_and_that_no_person_wrote_it(mail: MailServer) -> None:
    assert send(server(f"smtp://127.0.0.1:{mail.port}"), LETTER) == 250
    [got] = mail.letters
    assert (got["From"], got["To"], got["Subject"]) == (LETTER.sender, LETTER.recipient, LETTER.subject)
    assert mail.recipients == ["ada@example.org"] and mail.signed_in == [None]
    assert got["Message-ID"] == f"<{LETTER.event_id}@example.org>", "the same each time"
    assert got["References"] == f"<runner-{LETTER.runner_id}@example.org>"
    assert (got["Auto-Submitted"], got["List-Unsubscribe"]) == ("auto-generated", f"<{LETTER.page}>")
    content = got.get_content().replace("\r\n", "\n")
    assert content.startswith(LETTER.text) and LETTER.page in content


def test_long_names_are_whole_in_what_programs_read(mail: MailServer) -> None:
    domain, host = "a-long-name." * 9 + "example.org", "agents." * 20 + "example.org"
    letter = dataclasses.replace(LETTER, sender=f"runners@{domain}", page=f"https://{host}/")
    send(server(f"smtp://127.0.0.1:{mail.port}"), letter)
    [got] = mail.letters
    raw = dict(got.raw_items())
    assert (raw["List-Unsubscribe"], raw["From"]) == (f"<https://{host}/>", f"runners@{domain}")
    assert raw["Message-ID"] == f"<{LETTER.event_id}@{domain}>"
    assert raw["References"] == f"<runner-{LETTER.runner_id}@{domain}>"


@pytest.mark.parametrize("field", ["subject", "recipient"])
def test_no_text_becomes_a_header(mail: MailServer, field: str) -> None:
    hostile = "x@example.org\r\nBcc: eve@example.org"
    with pytest.raises(ValueError):
        send(server(f"smtp://127.0.0.1:{mail.port}"), dataclasses.replace(LETTER, **{field: hostile}))
    assert not mail.letters


def test_it_signs_in_when_the_connection_is_encrypted(tls: ssl.SSLContext) -> None:
    with mail_server(tls) as mail:
        assert send(encrypted(mail), LETTER) == 250
        assert mail.signed_in == [USER]
        check(encrypted(mail), LETTER.sender)
    with mail_server(tls, is_encrypted_at_once=True) as mail:
        assert send(server(f"smtps://{SIGNED}@localhost:{mail.port}"), LETTER) == 250
        assert mail.signed_in == [USER] and len(mail.letters) == 1


def test_no_password_is_sent_to_a_server_without_encryption_or_with_another_name(
    mail: MailServer, tls: ssl.SSLContext
) -> None:
    assert str(refused(encrypted(mail))) == "The mail server offers no encryption (STARTTLS)."
    with mail_server(tls) as other:
        by_address = dataclasses.replace(encrypted(other), host="127.0.0.1")
        assert str(refused(by_address)) == "The certificate of the mail server was not accepted."
        assert not other.letters and not other.signed_in


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.org", Server("mail.example.org", 587, "starttls")),
        ("smtps://a%40b:c%2Fd@mail.example.org", Server("mail.example.org", 465, "tls", "a@b", "c/d")),
        ("smtp+plain://mail.example.org", Server("mail.example.org", 25, "none")),
        ("smtp://[::1]:25", Server("::1", 25, "none")),
        ("smtp://127.0.0.1.example.org:25", Server("127.0.0.1.example.org", 25, "starttls")),
    ],
    ids=["starttls", "tls", "plain", "this machine", "another machine"],
)
def test_only_what_stays_on_this_machine_is_not_encrypted_unasked(url: str, expected: Server) -> None:
    assert server(url) == expected


@pytest.mark.parametrize(
    ("command", "reply", "status", "has_no_mailbox", "message"),
    [
        ("RCPT", "550 5.1.1 No ada here", 550, True, "says that there is no such mailbox: 550 5.1.1."),
        ("RCPT", "550 5.7.1 Relaying denied", 550, False, "refused the recipient: 550 5.7.1."),
        ("RCPT", "450 4.2.1 Greylisted", 450, False, "refused the recipient: 450 4.2.1."),
        ("MAIL", "553 Not you", 553, False, "refused the sender: 553."),
        ("DATA", "554 5.7.1 Spam", 554, False, "refused the message: 554 5.7.1."),
    ],
)
def test_what_the_server_refuses_is_said_with_its_codes_alone(
    mail: MailServer, command: str, reply: str, status: int, has_no_mailbox: bool, message: str
) -> None:
    mail.refusals[command] = reply
    error = refused(server(f"smtp://127.0.0.1:{mail.port}"))
    assert (error.status, error.has_no_mailbox, str(error)) == (status, has_no_mailbox, f"The mail server {message}")
    assert not mail.letters


def test_a_wrong_password_is_named_and_not_shown(mail: MailServer) -> None:
    wrong = refused(server(f"smtp://{USER}:not-this-one@127.0.0.1:{mail.port}"))
    assert str(wrong).startswith("The mail server refused the sign-in: 535") and wrong.status == 535
    assert "not-this-one" not in str(wrong)


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:
        # It has the port, and does not listen there.
        unused.bind(("127.0.0.1", 0))
        assert (
            str(refused(server(f"smtp://127.0.0.1:{unused.getsockname()[1]}")))
            == "The mail server refused the connection."
        )


def _say_nothing(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.recv(1)


def _greet_without_end(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while True:
            connection.sendall(b"220-Welcome\r\n")
            connection.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    return


@pytest.mark.parametrize("behave", [_say_nothing, _greet_without_end])
def test_no_server_holds_a_worker_for_long(behave: object) -> None:
    with Listener(behave) as listener:  # type: ignore[arg-type]
        error = refused(server(f"smtp://127.0.0.1:{listener.port}"), seconds=0.3)
    assert str(error) == "The mail server did not answer within 0.3 seconds." and error.status is None


def test_a_connection_that_breaks_is_named() -> None:
    with Listener(lambda connection: connection.close()) as listener:
        assert str(refused(server(f"smtp://127.0.0.1:{listener.port}"))) == "The mail server did not answer."
