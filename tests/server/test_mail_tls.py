"""Mail to another machine: by TLS that verifies, or not at all; and to the one address that it is for."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError, Invalid, MailFailed
from mushu.server.mail import INVITED, RESET, send
from mushu.server.users.service import checked_email
from tests.e2e.conftest import free_port
from tests.server.test_mail import LINK, Mailbox

HOST = "mail.example.com"
PASSWORD = "p@ss"

Serve = Callable[..., Settings]


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def distant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this machine answer for HOST and its like, which are others as far as Mushu can tell."""
    import socket

    real = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **options: Any) -> Any:
        return real("127.0.0.1" if "example.com" in str(host) else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture
def serve(mailbox: Mailbox, tmp_path: Path, distant: None) -> Iterator[Serve]:
    """Start a mail server at HOST, and return settings that name it."""
    with ExitStack() as stack:

        def start(scheme: str = "smtp", *, host: str = HOST, **options: Any) -> Settings:
            controller = Controller(
                mailbox,
                hostname="127.0.0.1",
                port=free_port(),
                authenticator=mailbox.authenticate,
                auth_require_tls=False,
                **options,
            )
            controller.start()
            stack.callback(controller.stop)
            url = f"{scheme}://ada:{quote(PASSWORD)}@{host}:{controller.port}"
            return Settings(instance_path=tmp_path, smtp_url=url, mail_from="mushu@example.com")

        yield start


def certificate(folder: Path, name: str = HOST) -> tuple[ssl.SSLContext, Path]:
    """Return what a server proves itself with as `name`, and the file that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, own = folder / f"{name}.pem", folder / f"{name}.key"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    own.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, own)
    return context, path


@pytest.mark.fault
def test_another_machine_without_starttls_gets_neither_link_nor_password(serve: Serve, mailbox: Mailbox) -> None:
    with pytest.raises(MailFailed, match="offers no STARTTLS, so nothing was sent") as caught:
        send(serve(), "ada@example.com", INVITED, LINK)
    assert (mailbox.mails, mailbox.logins) == ([], [])
    assert "`MUSHU_SMTP_URL= flask users reset ada@example.com` prints one instead." in caught.value.detail
    assert PASSWORD not in caught.value.detail
    assert LINK not in caught.value.detail


@pytest.mark.fault
def test_nor_does_one_that_offers_it_and_then_refuses(
    serve: Serve, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody in between lets the offer pass and not the answer."""
    settings = serve()
    monkeypatch.setattr("smtplib.SMTP.has_extn", lambda _, name: name in ("starttls", "auth"))
    with pytest.raises(MailFailed) as caught:
        send(settings, "ada@example.com", INVITED, LINK)
    assert (mailbox.mails, mailbox.logins) == ([], [])
    assert "prints one instead" in caught.value.detail


def test_one_that_proves_itself_gets_them(
    serve: Serve, mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, path = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    send(serve(tls_context=context, require_starttls=True), "ada@example.com", RESET, LINK)
    assert mailbox.logins == [(b"ada", PASSWORD.encode())]
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("vouched", [False, True], ids=["nobody vouches", "another name"])
def test_one_that_does_not_prove_itself_gets_nothing(
    serve: Serve, mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vouched: bool
) -> None:
    context, path = certificate(tmp_path, "other.example.com" if vouched else HOST)
    if vouched:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(MailFailed):
        send(serve(tls_context=context, require_starttls=True), "ada@example.com", INVITED, LINK)
    assert (mailbox.mails, mailbox.logins) == ([], [])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_this_machine_may_be_spoken_to_without(serve: Serve, mailbox: Mailbox, host: str) -> None:
    send(serve(host=host), "ada@example.com", INVITED, LINK)
    assert len(mailbox.mails) == 1


@pytest.mark.fault
@pytest.mark.parametrize("host", ["127.0.0.1.example.com", "localhost.example.com"])
def test_a_name_that_only_looks_like_this_machine_is_another(serve: Serve, mailbox: Mailbox, host: str) -> None:
    with pytest.raises(MailFailed, match="offers no STARTTLS"):
        send(serve(host=host), "ada@example.com", INVITED, LINK)
    assert mailbox.mails == []


@pytest.mark.fault
@pytest.mark.parametrize(
    "address",
    ["ada,eve@example.com", "ada(eve)@example.com", "ada;eve@example.com", "<eve@example.com>ada", "a\r\nb@c.d"],
)
def test_an_address_that_a_header_takes_for_another_gets_nothing(serve: Serve, mailbox: Mailbox, address: str) -> None:
    with pytest.raises(MailFailed, match="taken for another one"):
        send(serve(host="127.0.0.1"), address, INVITED, LINK)
    assert mailbox.mails == []


@pytest.mark.fault
@pytest.mark.parametrize("sender", ["nobody", "mushu@example.com\r\nBcc: eve@example.com"])
def test_a_sender_that_is_none_is_a_wrong_setting(tmp_path: Path, sender: str) -> None:
    with pytest.raises(ConfigurationError, match="MUSHU_MAIL_FROM must be"):
        Settings(instance_path=tmp_path, mail_from=sender).validate()


@pytest.mark.fault
@pytest.mark.parametrize("letter", ["\u202e", "\u200b", "\ufeff"])
def test_an_address_with_a_letter_that_is_not_seen_is_none(letter: str) -> None:
    with pytest.raises(Invalid):
        checked_email(f"ada{letter}b@example.com")
