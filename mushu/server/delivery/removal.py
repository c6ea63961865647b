"""Deleting a key: revoked in the database first, then taken away from where it lies, if it still is what lies there."""

from mushu.server.audit.service import Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.destinations import OpenDestination
from mushu.server.delivery.recovery import Finding, Reconciler
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import Selection, change_state, iterate_keys
from mushu.server.keys.states import DELETE
from mushu.server.orgs.models import Organization
from mushu.server.orgs.service import delete_org


def revoke_key(session: AnySession, clock: Clock, actor: Actor, key_id: str, *, keep_value: bool = False) -> ApiKey:
    """Revoke the key in the caller's transaction, and mark its value for removal wherever it was brought.

    Args:
        keep_value: leave the value, which opens nothing any more, where it was proven to be; what had not come so far
            is taken back all the same.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it is deleted already.
    """
    key = change_state(session, clock, actor, key_id, DELETE)
    if key.activated_at is None:  # its attempt ends here, and holds its destinations against no other
        for delivery in ledger.list_deliveries(session, [key_id]):
            ledger.fail(session, delivery, "The key was deleted before it was delivered.")
    if not keep_value:
        ledger.mark_for_cleanup(session, key_id)
    return key


def delete_key(
    session: AnySession,
    clock: Clock,
    actor: Actor,
    open_destination: OpenDestination,
    key_id: str,
    *,
    keep_value: bool = False,
) -> tuple[ApiKey, list[Finding]]:
    """Revoke the key, commit, and remove its value from its destinations; owns its transactions.

    Returns:
        The key, and what came of each destination. One that cannot be reached stays due; `reconcile` tries again.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it is deleted already.
    """
    with writing(session):
        key = revoke_key(session, clock, actor, key_id, keep_value=keep_value)
    return key, Reconciler(session, clock, actor, open_destination).clean_up(key_id)


def delete_org_with_keys(
    session: AnySession, clock: Clock, actor: Actor, open_destination: OpenDestination, org: Organization
) -> list[Finding]:
    """Delete the organization and every key it has, commit, and remove their values; owns its transactions."""
    with writing(session):
        key_ids = [key.id for key in iterate_keys(session, org.id, Selection())]
        for key_id in key_ids:
            revoke_key(session, clock, actor, key_id)
        delete_org(session, clock, actor, org)
    reconciler = Reconciler(session, clock, actor, open_destination)
    return [finding for key_id in key_ids for finding in reconciler.clean_up(key_id)]
