"""Delete a key, or an organization with its keys: `DELETE …`, `flask keys delete`, `flask orgs delete`.

A key is revoked in the database first; then its value is taken away from where it is, if it still is what is there.
Phase 1 of every verb is here, too: it revokes again what an older database forgot.
"""

from collections.abc import Sequence
from contextlib import suppress

from mushu.server.audit import SYSTEM, Actor, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession, finishing, reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.named_destinations import remove_all_named
from mushu.server.delivery.reconciler import Finding, Verdict
from mushu.server.errors import WrongState
from mushu.server.keys import revocation_journal
from mushu.server.keys.models import ApiKey
from mushu.server.keys.selection import Selection
from mushu.server.keys.service import change_state, iterate_keys
from mushu.server.keys.states import DEAD, DELETE
from mushu.server.lifecycle.context import Context
from mushu.server.orgs import service as orgs
from mushu.server.orgs.invitations import withdraw
from mushu.server.orgs.models import OrgInvitation


def revoke_key(session: AnySession, clock: Clock, actor: Actor, key_id: str, *, keep_value: bool = False) -> ApiKey:
    """Revoke the key and its invitations in the caller's transaction, and mark its value for removal everywhere.

    Args:
        keep_value: leave the value, which opens nothing any more, where it was proven to be, and only there.

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

    The audit trail names the system. Some hundred keys share a transaction: one for all would keep writers out.
    """
    session, found = context.session, list[Finding]()
    detail = "It had been deleted, and an older database knew nothing of it; it is deleted again."
    while True:
        with reading(session):
            if not revocation_journal.is_behind(session):  # the rule; it costs no lock of a writer
                return found
        with finishing(session):
            revocation_journal.hold(session)
            key_ids, position = revocation_journal.to_follow(session)
            for key_id in key_ids:
                with suppress(WrongState):  # on PostgreSQL, somebody deletes it at this moment
                    revoke_key(session, context.clock, SYSTEM, key_id)
            revocation_journal.followed(session, position)
        found += [Finding(key_id, Verdict.REVOKED, detail) for key_id in key_ids]


def delete(context: Context, key_id: str, *, keep_value: bool = False) -> tuple[ApiKey, list[Finding]]:
    """Revoke the key, commit, remove its value from its destinations, and return it with what was done at each.

    Owns its transactions. A destination that cannot be reached stays due; `reconcile` tries again.

    Args:
        keep_value: leave the value where it is; of a key that is dead already, too, which ends the search for it.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it is deleted already.
    """
    follow_journal(context)  # 1
    session, clock, actor = context.session, context.clock, context.actor
    with writing(session):  # 5
        key = context.get_key(key_id)  # 3
        if keep_value and key.stored_state in DEAD:  # its destination is gone for good, say
            ledger.let_go(session, key_id)
            record(session, clock(), actor, "key.value_left", key_id, org_id=key.org_id)
            return key, []
        key = revoke_key(session, clock, actor, key_id, keep_value=keep_value)
    return key, context.reconciler.clean_up(key_id)  # 6, 7


def delete_org(context: Context, org_id: str, others: Sequence[orgs.OrgDeletion]) -> list[Finding]:
    """Delete the organization and every key it has, commit, and remove their values; owns its transactions.

    Its destinations are free for others then; what cleaning up there needs is kept. `others` join the transaction.

    Raises:
        OrgNotFound: there is no such organization.
    """
    follow_journal(context)  # 1
    session, clock, actor = context.session, context.clock, context.actor
    with writing(session):  # 5
        org = orgs.lock_org(session, org_id)  # 3
        key_ids = [key.id for key in iterate_keys(session, org.id, Selection())][::-1]  # the oldest first
        for key_id in key_ids:
            revoke_key(session, clock, actor, key_id)
        orgs.delete_org(session, clock, actor, org)
        for delete_of_org in others:
            delete_of_org(session, clock, actor, org.id)
        session.flush()  # first, so that nobody names another destination in it meanwhile
        remove_all_named(session, clock, actor, org.id)
    return [finding for key_id in key_ids for finding in context.reconciler.clean_up(key_id)]  # 6, 7
