"""Delete a key, or an organization with its keys: `DELETE …`, `flask keys delete`, `flask orgs delete`.

A key is revoked in the database first; then its value is taken away from where it is, if it still is what is there.
"""

from collections.abc import Sequence

from mushu.server.audit import record
from mushu.server.db import writing
from mushu.server.delivery import ledger
from mushu.server.delivery.named_destinations import remove_all_named
from mushu.server.delivery.reconciler import Finding
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import Selection, iterate_keys
from mushu.server.keys.states import DEAD
from mushu.server.lifecycle.context import Context
from mushu.server.lifecycle.revocation import follow_journal, revoke_key
from mushu.server.orgs import service as orgs
from mushu.server.orgs.service import OrgDeletion, lock_org


def delete(context: Context, key_id: str, *, keep_value: bool = False) -> tuple[ApiKey, list[Finding]]:
    """Revoke the key, commit, and remove its value from its destinations; owns its transactions.

    Args:
        keep_value: leave the value where it is; of a key that is dead already, too, which ends the search for it.

    Returns:
        The key, and what was done at each destination. One that cannot be reached stays due; `reconcile` tries again.

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


def delete_org(context: Context, org_id: str, others: Sequence[OrgDeletion]) -> list[Finding]:
    """Delete the organization and every key it has, commit, and remove their values; owns its transactions.

    Its destinations are free for others from that moment on; what is needed to clean up there is kept as long.

    Args:
        others: what each of the resources does in the same transaction.

    Raises:
        OrgNotFound: there is no such organization.
    """
    follow_journal(context)  # 1
    session, clock, actor = context.session, context.clock, context.actor
    with writing(session):  # 5
        org = lock_org(session, org_id)  # 3
        key_ids = [key.id for key in iterate_keys(session, org.id, Selection())]
        for key_id in key_ids:
            revoke_key(session, clock, actor, key_id)
        orgs.delete_org(session, clock, actor, org)
        for delete_of_org in others:
            delete_of_org(session, clock, actor, org.id)
        session.flush()  # first, so that nobody names another destination in it meanwhile
        remove_all_named(session, clock, actor, org.id)
    return [finding for key_id in key_ids for finding in context.reconciler.clean_up(key_id)]  # 6, 7
