"""Change a key that stays what it is: disable it, enable it again, rename it, restrict its use, put off its end."""

from collections.abc import Sequence
from datetime import datetime

from mushu.server.db import writing
from mushu.server.errors import Invalid
from mushu.server.keys import Network, retirement, rotation
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state, rename_key
from mushu.server.keys.states import DISABLE, ENABLE, Transition
from mushu.server.lifecycle.context import Context
from mushu.server.lifecycle.delete import follow_journal
from mushu.server.rate_limits import Limit


def disable(context: Context, key_id: str) -> ApiKey:
    """Refuse the key from now on, until it is enabled again; owns its transaction.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it is not active.
    """
    return _change_state(context, key_id, DISABLE)


def enable(context: Context, key_id: str) -> ApiKey:
    """Let a disabled key work again; owns its transaction.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it is not disabled.
    """
    return _change_state(context, key_id, ENABLE)


def rename(context: Context, key_id: str, name: str) -> ApiKey:
    """Give the key another name; owns its transaction.

    Raises:
        KeyNotFound: there is no such key.
        Invalid: the name is not usable.
    """
    follow_journal(context)  # 1
    with writing(context.session):  # 5
        key = context.get_key(key_id)  # 3
        return rename_key(context.session, context.clock, context.actor, key, name)  # 7


def restrict(
    context: Context, key_id: str, *, limits: Sequence[Limit] | None, networks: Sequence[Network] | None
) -> ApiKey:
    """Change how often and from where the key, and one that is to take its place, may be used; owns its transaction.

    Args:
        limits: None leaves them as they are, and none in it takes them back; so do `networks`.

    Raises:
        KeyNotFound: there is no such key.
        Invalid: nothing is to change.
    """
    if limits is None and networks is None:
        raise Invalid("Say what is to change: limits, networks, or both.", field="limits")
    follow_journal(context)  # 1
    with writing(context.session):  # 5
        key = context.get_key(key_id)  # 3
        return rotation.restrict(  # 7
            context.session, context.clock, context.actor, key.id, limits=limits, networks=networks
        )


def extend(context: Context, key_id: str, until: datetime) -> ApiKey:
    """Let the old key of a rotation work until a later moment; owns its transaction.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it has no end that could be put off.
        Invalid: it works longer already, or may not work so long.
    """
    follow_journal(context)  # 1
    with writing(context.session):  # 5
        key = context.get_key(key_id)  # 3
        return retirement.extend(context.session, context.clock, context.actor, key.id, until)  # 7


def _change_state(context: Context, key_id: str, change: Transition) -> ApiKey:
    follow_journal(context)  # 1
    with writing(context.session):  # 5
        key = context.get_key(key_id)  # 3
        return change_state(context.session, context.clock, context.actor, key.id, change)  # 7
