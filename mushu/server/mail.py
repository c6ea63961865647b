"""Mail with one-time links, through the operator's own mail server.

A link is as good as a password, and the account at the mail server has one of its own. So nothing is sent to another
machine before it has proven by its certificate who it is: by TLS from the start (smtps), or by STARTTLS.
"""

import re
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final
from urllib.parse import unquote, urlsplit

from mushu.address import is_loopback_host
from mushu.server.config import Settings
from mushu.server.errors import MailFailed

_TIMEOUT: Final = 15.0
_PORTS: Final = {"smtp": 587, "smtps": 465}
#: One address that a header cannot take for two, or for another: no comma, no comment, no quotes, no angle brackets.
_ONE_ADDRESS: Final = re.compile(r'[^\s,;:<>()\[\]\\"@]+@[^\s,;:<>()\\"@]+')


@dataclass(frozen=True, slots=True)
class MailTemplate:
    """What is written around a link."""

    subject: str
    text: str


INVITED: Final = MailTemplate(
    "Set your password for Mushu",
    "An account was made for you. Set your password with this link; it works once, for three days:",
)
RESET: Final = MailTemplate(
    "Set a new password for Mushu",
    "Set a new password with this link; it works once, for three days. If you did not ask for it, ask your operator:",
)
FORGOTTEN: Final = MailTemplate(
    "Set a new password for Mushu",
    "Somebody, likely you, asked for this link. It sets a new password, once, within three days. If it was not you, "
    "leave it; your password works as before:",
)


def send(settings: Settings, recipient: str, template: MailTemplate, link: str) -> None:
    """Send one letter.

    Raises:
        MailFailed: the mail server did not take it; the message says why, and holds neither link nor password.
    """
    if not (_ONE_ADDRESS.fullmatch(recipient) and recipient.isprintable()):
        raise MailFailed("The mail was not sent: the user's address would be taken for another one in a mail.")
    server = urlsplit(settings.smtp_url)
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = template.subject, settings.mail_from, recipient
    message.set_content(f"{template.text}\n\n{link}\n")
    host, port = server.hostname or "", server.port or _PORTS[server.scheme]
    context = ssl.create_default_context()
    try:
        with _connect(server.scheme, host, port, context) as connection:
            if server.scheme == "smtp":
                _encrypt(connection, context, host)
            if server.username:
                connection.login(unquote(server.username), unquote(server.password or ""))
            connection.send_message(message, to_addrs=[recipient])
    except _NoTls:
        reason = f"{host}:{port} offers no STARTTLS, so nothing was sent: others could read the link and the password"
        way = "Have it offer STARTTLS, or name one that has TLS in MUSHU_SMTP_URL (smtps://…)"
    except ssl.SSLError as error:
        reason = f"{host}:{port} has not proven who it is: {getattr(error, 'verify_message', '') or error.reason}"
        way = "Name it in MUSHU_SMTP_URL as its certificate does, and let the system trust who signed that"
    except (OSError, smtplib.SMTPException) as error:
        reason, way = f"{type(error).__name__} from {host}:{port}", "Check MUSHU_SMTP_URL"
    else:
        return
    raise MailFailed(
        f"The mail was not sent ({reason}). {way}; then `flask users reset {recipient}` makes a new link. "
        f"`MUSHU_SMTP_URL= flask users reset {recipient}` prints one instead."
    )


def _encrypt(connection: smtplib.SMTP, context: ssl.SSLContext, host: str) -> None:
    """Go on by TLS; without it to this machine only, where the server offers none.

    Raises:
        _NoTls: another machine offers none.
        ssl.SSLError: its certificate does not verify.
    """
    if connection.has_extn("starttls"):
        connection.starttls(context=context)  # what was said before is forgotten; SMTPException where it is refused
        connection.ehlo()
    elif not is_loopback_host(host):
        raise _NoTls


def _connect(scheme: str, host: str, port: int, context: ssl.SSLContext) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=context)
    connection = smtplib.SMTP(host, port, timeout=_TIMEOUT)
    connection.ehlo()
    return connection


class _NoTls(Exception):
    """The mail server is on another machine and offers no encryption."""
