"""Mail through a real SMTP server on loopback."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from mushu.server import mail
from mushu.server.config import Settings
from mushu.server.errors import MailFailed
from mushu.server.mail import INVITED, RESET, send
from tests.e2e.conftest import free_port

LINK = "https://keys.example.com/password/mpl_abc"


class Mailbox:
    """Keeps what it is given; refuses one recipient."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address == "refused@example.com":
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.mails.append(envelope.content.decode())
        return "250 OK"

    def authenticate(
        self, _server: object, _session: object, _envelope: object, _how: str, login: object
    ) -> AuthResult:
        assert isinstance(login, LoginPassword)
        self.logins.append((login.login, login.password))
        return AuthResult(success=login.password == b"p@ss")


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def settings(mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setattr(mail, "_TIMEOUT", 2)  # the server here does not end the talk after a wrong password
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=mailbox.authenticate,
        auth_require_tls=False,
    )
    controller.start()
    yield Settings(
        instance_path=tmp_path, smtp_url=f"smtp://127.0.0.1:{controller.port}", mail_from="mushu@example.com"
    )
    controller.stop()


def test_a_letter_arrives_with_its_link(settings: Settings, mailbox: Mailbox) -> None:
    send(settings, "ada@example.com", INVITED, LINK)
    (letter,) = mailbox.mails
    for part in ("To: ada@example.com", "From: mushu@example.com", f"Subject: {INVITED.subject}", LINK, "three days"):
        assert part in letter


def test_it_signs_in_where_a_user_is_given(settings: Settings, mailbox: Mailbox) -> None:
    url = settings.smtp_url.replace("smtp://", "smtp://ada%40example.com:p%40ss@")
    send(replace(settings, smtp_url=url), "ada@example.com", RESET, LINK)
    assert mailbox.logins == [(b"ada@example.com", b"p@ss")]
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("change", ["wrong password", "refused", "no server", "no tls"])
def test_what_fails_says_what_to_do_and_shows_neither_link_nor_password(
    settings: Settings, mailbox: Mailbox, change: str
) -> None:
    recipient, url = "ada@example.com", settings.smtp_url
    if change == "wrong password":
        url = url.replace("smtp://", "smtp://ada:wrong-hunter2@")
    elif change == "refused":
        recipient = "refused@example.com"
    elif change == "no server":
        url = "smtp://hunter2:hunter2@127.0.0.1:1"
    else:
        url = url.replace("smtp://", "smtps://")
    with pytest.raises(MailFailed) as caught:
        send(replace(settings, smtp_url=url), recipient, INVITED, LINK)
    assert f"flask users reset {recipient}" in caught.value.detail
    assert "hunter2" not in caught.value.detail
    assert LINK not in caught.value.detail
    assert caught.value.__cause__ is None
    assert mailbox.mails == []


def test_a_recipient_cannot_smuggle_headers_in(settings: Settings, mailbox: Mailbox) -> None:
    with pytest.raises((MailFailed, ValueError)):
        send(settings, "ada@example.com\r\nBcc: eve@example.com", INVITED, LINK)
    assert mailbox.mails == []
