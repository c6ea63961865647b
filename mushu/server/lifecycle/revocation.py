"""How a key is revoked; and phase 1 of every verb, which revokes again what an older database forgot."""

from contextlib import suppress

from mushu.server.audit import SYSTEM, Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession, finishing, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.reconciler import Finding, Verdict
from mushu.server.errors import WrongState
from mushu.server.keys import revocation_journal
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE
from mushu.server.lifecycle.context import Context
from mushu.server.orgs.invitations import withdraw
from mushu.server.orgs.models import OrgInvitation


def revoke_key(session: AnySession, clock: Clock, actor: Actor, key_id: str, *, keep_value: bool = False) -> ApiKey:
    """Revoke the key in the caller's transaction, and mark its value for removal wherever it was brought.

    What it offered ends with it: its invitations that nobody answered.

    Args:
        keep_value: leave the value, which opens nothing any more, where it was proven to be; what had not come so far
            is taken back all the same.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it is deleted already.
    """
    key = change_state(session, clock, actor, key_id, DELETE)
    withdraw(session, clock, actor, OrgInvitation.invited_by == key_id, DELETE.action)
    if key.activated_at is None:  # its attempt ends here, and holds its destinations against no other
        for delivery in ledger.list_deliveries(session, [key_id]):
            ledger.fail(session, delivery, "The key was deleted before it was delivered.")
    if not keep_value:
        ledger.mark_for_cleanup(session, key_id)
    return key


def follow_journal(context: Context) -> list[Finding]:
    """Phase 1 of every verb: revoke again what was deleted before and is alive here, as after a backup was restored.

    Nobody's permission is asked, for this was decided before; the audit trail names the system. It is cheap where the
    journal has nothing to say: that is looked up without the lock of a writer.
    """
    session = context.session
    with reading(session):
        behind = revocation_journal.is_behind(session)
    if not behind:
        return []
    with finishing(session):
        revocation_journal.hold(session)
        key_ids = revocation_journal.to_follow(session)
        for key_id in key_ids:
            with suppress(WrongState):  # on PostgreSQL, somebody deletes it at this moment
                revoke_key(session, context.clock, SYSTEM, key_id)
        revocation_journal.followed(session)
    detail = "It had been deleted, and an older database knew nothing of it; it is deleted again."
    return [Finding(key_id, Verdict.REVOKED, detail) for key_id in key_ids]
