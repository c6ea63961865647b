"""A forgotten password: a link by mail to whoever asks for it with the account's own address.

Whether there is such an account makes no difference to the answer, nor to how long it takes: the mail goes out on a
thread of its own. Requests are counted by what was typed and by network, in the table of failed sign-ins.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.clock import Clock
from mushu.server.db import AnySession, writing
from mushu.server.errors import Busy, MailFailed
from mushu.server.users.links import issue_link
from mushu.server.users.service import find_user_by_email
from mushu.server.users.throttle import count_link_request

_LOG: Final = logging.getLogger(__name__)
#: Mails that wait for the mail server at once, in one process.
_MOST_MAILS: Final = 8

#: Mails a link, made of the secret, to an address.
SendLink = Callable[[str, Secret], None]


class Postman:
    """Sends mails on threads, a few at once."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(_MOST_MAILS)

    def ask_for_link(self, session: AnySession, clock: Clock, email: str, network: str, send: SendLink) -> None:
        """Have a link mailed to the user with this address, if there is one; owns its transaction.

        Args:
            network: where the request comes from.
            send: raises MailFailed where the mail server does not take it, which is logged.

        Raises:
            TooManyAttempts: too many links were asked for, for this address or from there.
            Busy: too many mails wait for the mail server; nothing was counted.
        """
        if not self._free.acquire(blocking=False):
            raise Busy("Too many mails wait for the mail server. Try again in a moment.", retry_after=5)
        recipient: str | None = None
        secret: Secret | None = None
        try:
            with writing(session):
                count_link_request(session, clock, email, network)
                user = find_user_by_email(session, email)
                if user is not None and user.disabled_at is None:
                    recipient, secret = user.email, issue_link(session, clock, SYSTEM, user)
        except BaseException:
            self._free.release()
            raise
        threading.Thread(target=self._send, args=(recipient, secret, send), name="mail", daemon=True).start()

    def _send(self, recipient: str | None, secret: Secret | None, send: SendLink) -> None:
        try:
            if recipient is not None and secret is not None:
                send(recipient, secret)
        except MailFailed as error:
            _LOG.error("the link for a forgotten password was not sent", extra={"detail": error.detail})
        finally:
            self._free.release()
