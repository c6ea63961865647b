"""Sending a notification: write down, send, write down.

    T1 commit   the notification, and a pending row for each device; without credentials it ends here, in the outbox
    send        some hundred devices, outside any transaction
    T2 commit   what became of them; dead devices are forgotten. Then the next some hundred, while there is a tenant
    T3 commit   completed

Killed in between, rows stay pending. They are told as unknown from then on (`outcomes.py`), and not sent again.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import IntegrityError

from mushu.server.clock import Clock
from mushu.server.db import AnySession, finishing, reading, writing
from mushu.server.environments import environment_of
from mushu.server.errors import InProgress
from mushu.server.idempotency import find_made
from mushu.server.resources.notifications import service
from mushu.server.resources.notifications.apns import Hosts, encoded, push_type_of
from mushu.server.resources.notifications.models import KEPT_FOR, NotificationRow
from mushu.server.resources.notifications.outcomes import is_under_way
from mushu.server.resources.notifications.sender import PushMessage, Recipient, Sender, apns_id
from mushu.server.resources.notifications.service import NotificationRequest
from mushu.server.resources.tenants import TenantRow, credentials_of, find_tenant, hold_tenant
from mushu.server.sealing.ring import SealingKeys

#: Devices between two commits.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Sends notifications; owns its transactions."""

    #: Outside of any transaction.
    session: AnySession
    clock: Clock
    keys: SealingKeys
    hosts: Hosts
    sender: Sender

    def dispatch(self, request: NotificationRequest) -> NotificationRow:
        """Send it to every device of its users; where a request with the same key did already, return that one.

        Raises:
            TenantNotFound: it is not there, or no longer.
            IdempotencyMismatch: the key was used for another request.
            InProgress: the request with this key is being worked on.
            SealingFailed: the tenant's private key cannot be opened.
        """
        notification, message = self._record(request)
        if message is not None:
            self._send(notification, message)
        elif is_under_way(notification, self.clock()):
            raise InProgress(
                "The request with this Idempotency-Key is being worked on. Ask again shortly, with the same.",
                retry_after=2,  # seconds
            )
        return notification

    def _record(self, request: NotificationRequest) -> tuple[NotificationRow, PushMessage | None]:
        """Write it down, and return it with what is to be sent, or None if nothing is."""
        try:
            with writing(self.session):
                made = find_made(self.session, NotificationRow, request.idempotency)
                if made is not None:
                    return made, None
                tenant = hold_tenant(self.session, request.tenant_id)
                notification = service.record_notification(self.session, self.clock, tenant, request)
                return notification, None if notification.completed_at else self._message(tenant, notification)
        except IntegrityError:  # on PostgreSQL, where two with one key get as far as the constraint
            with reading(self.session):
                made = find_made(self.session, NotificationRow, request.idempotency)
            if made is None:
                raise
            return made, None

    def _message(self, tenant: TenantRow, notification: NotificationRow) -> PushMessage:
        credentials = credentials_of(tenant, self.keys)
        if credentials is None:
            raise AssertionError("without credentials a notification is complete as it is written down")
        return PushMessage(
            host=self.hosts.of(environment_of(self.session), use_sandbox=tenant.use_sandbox),
            credentials=credentials,
            topic=tenant.bundle_id,
            push_type=push_type_of(notification.payload),
            payload=encoded(notification.payload),
            expires_at=notification.created_at + KEPT_FOR,
        )

    def _send(self, notification: NotificationRow, message: PushMessage) -> None:
        deadline, last = self.sender.deadline(), 0
        while recipients := self._waiting_after(notification, last):
            results = self.sender.send(message, recipients, deadline)
            with finishing(self.session):
                service.note_results(self.session, self.clock, notification, results)
            last = recipients[-1].sending_id
        with finishing(self.session):
            service.complete(self.session, self.clock, notification)

    def _waiting_after(self, notification: NotificationRow, last: int) -> list[Recipient]:
        with reading(self.session):
            if find_tenant(self.session, notification.tenant_id) is None:  # what is left is told as unknown
                return []
            waiting = service.waiting_after(self.session, notification, last, _AT_ONCE)
            return [Recipient(one.id, one.token, apns_id(notification.id, one.id)) for one in waiting if one.token]
