"""Mail with one-time links, through the operator's own mail server."""

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final
from urllib.parse import unquote, urlsplit

from mushu.server.config import Settings
from mushu.server.errors import MailFailed

_TIMEOUT: Final = 15.0
_PORTS: Final = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Letter:
    """What is written around a link."""

    subject: str
    text: str


INVITED: Final = Letter(
    "Set your password for Mushu",
    "An account was made for you. Set your password with this link; it works once, for three days:",
)
RESET: Final = Letter(
    "Set a new password for Mushu",
    "Set a new password with this link; it works once, for three days. If you did not ask for it, ask your operator:",
)


def send(settings: Settings, recipient: str, letter: Letter, link: str) -> None:
    """Send one letter.

    Raises:
        MailFailed: the mail server did not take it; the message says why, and holds neither link nor password.
    """
    server = urlsplit(settings.smtp_url)
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = letter.subject, settings.mail_from, recipient
    message.set_content(f"{letter.text}\n\n{link}\n")
    host, port = server.hostname or "", server.port or _PORTS[server.scheme]
    context = ssl.create_default_context()
    try:
        with _connect(server.scheme, host, port, context) as connection:
            if server.scheme == "smtp" and connection.has_extn("starttls"):
                connection.starttls(context=context)
                connection.ehlo()
            if server.username:
                connection.login(unquote(server.username), unquote(server.password or ""))
            connection.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        reason = f"{type(error).__name__} from {host}:{port}"
        raise MailFailed(
            f"The mail server did not take the mail ({reason}). Check MUSHU_SMTP_URL; "
            f"then `flask users reset {recipient}` makes a new link."
        ) from None


def _connect(scheme: str, host: str, port: int, context: ssl.SSLContext) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=context)
    connection = smtplib.SMTP(host, port, timeout=_TIMEOUT)
    connection.ehlo()
    return connection
