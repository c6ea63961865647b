from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, update

from mushu.duration import written_duration
from mushu.environment import Environment
from mushu.keyformat import KEY_PREFIXES, generate, public_id
from mushu.secret import Secret
from mushu.server.audit.service import Actor, Detail, record
from mushu.server.clock import Clock, rfc3339
from mushu.server.db import AnySession
from mushu.server.errors import Invalid, KeyNotFound, WrongState
from mushu.server.keys import journal
from mushu.server.keys.house_rules import with_defaults, within_limits
from mushu.server.keys.models import ApiKey
from mushu.server.keys.once import mark_minted
from mushu.server.keys.requests import KeyRequest
from mushu.server.keys.scopes import DEFAULT_SCOPES
from mushu.server.keys.states import State, Transition
from mushu.server.orgs.service import checked_name
from mushu.server.orgs.settings import rules_of
from mushu.server.paging import MOST, Page, Window, page

_MOMENT_OF: Final = {State.ACTIVE: "activated_at", State.REVOKED: "revoked_at"}
#: A year that calendars and databases agree upon; beyond it, leave the expiry out.
_LONGEST_LIFE: Final = timedelta(days=36_525)
#: Below that, one rotation would run into the next.
SHORTEST_INTERVAL: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which keys of an organization are meant."""

    environments: tuple[Environment, ...] = tuple(Environment)
    #: Include deleted keys, and those that could not be delivered.
    with_deleted: bool = False


def mint_key(session: AnySession, clock: Clock, actor: Actor, request: KeyRequest) -> tuple[ApiKey, Secret]:
    """Create a pending key and return it with its plaintext, which is nowhere else.

    It authenticates nobody until it is activated (`activation.py`). What the request leaves open is filled in as the
    organization has settled it.

    Raises:
        Invalid: the name, the expiry or the interval of rotation is not usable.
        IntegrityError: another request with the same Idempotency-Key has minted one.
    """
    return _mint(session, clock, actor, with_defaults(request, rules_of(session, request.org_id), clock()))


def mint_successor(session: AnySession, clock: Clock, actor: Actor, request: KeyRequest) -> tuple[ApiKey, Secret]:
    """Create a pending key like the one it is to follow; only the organization's limit to its life is applied."""
    return _mint(session, clock, actor, within_limits(request, rules_of(session, request.org_id), clock()))


def _mint(session: AnySession, clock: Clock, actor: Actor, request: KeyRequest) -> tuple[ApiKey, Secret]:
    now = clock()
    scopes = request.scopes or DEFAULT_SCOPES
    name = checked_name(request.name)
    expires_at = _checked_expiry(now, request.expires_at)
    secret = generate(KEY_PREFIXES[request.environment])
    key = ApiKey(
        id=public_id("key"),
        org_id=request.org_id,
        name=name,
        digest=secret.digest(),
        last_four=secret.reveal()[-4:],
        scope_names=",".join(scopes),
        environment=request.environment,
        stored_state=State.PENDING,
        created_at=now,
        expires_at=expires_at,
        rotate_every=_checked_interval(request.rotate_every),
    )
    mark_minted(session, key, request.once)
    session.add(key)
    session.flush()
    details: dict[str, Detail] = {
        "name": name,
        "scopes": list(scopes),
        "environment": request.environment,
        "expires_at": rfc3339(expires_at) if expires_at else None,
    }
    if request.rotate_every is not None:
        details["rotate_every"] = written_duration(request.rotate_every)
    record(session, now, actor, "key.created", key.id, org_id=key.org_id, details=details)
    return key, secret


def find_key(session: AnySession, key_id: str) -> ApiKey | None:
    return session.get(ApiKey, key_id, populate_existing=True)


def find_key_by_digest(session: AnySession, digest: str) -> ApiKey | None:
    query = select(ApiKey).where(ApiKey.digest == digest)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def get_key(session: AnySession, key_id: str) -> ApiKey:
    """Return the key, deleted ones included: for operators.

    Raises:
        KeyNotFound: there is none.
    """
    key = find_key(session, key_id)
    if key is None:
        raise KeyNotFound(f"There is no API key {key_id!r}. `flask keys list --org ORG --all` shows them all.")
    return key


def get_key_of(
    session: AnySession, org_id: str, environment: Environment, key_id: str, *, with_deleted: bool = False
) -> ApiKey:
    """Return the key if it belongs to this organization and environment, and was not deleted.

    Raises:
        KeyNotFound: it does not.
    """
    key = find_key(session, key_id)
    mine = key is not None and key.org_id == org_id and key.environment == environment
    if key is None or not mine or (key.stored_state == State.REVOKED and not with_deleted):
        raise KeyNotFound(f"There is no {environment} API key {key_id!r} in {org_id}.")
    return key


def list_keys(session: AnySession, org_id: str, selection: Selection, window: Window) -> Page[ApiKey]:
    """Return a page of an organization's keys, newest first.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    query = select(ApiKey).where(ApiKey.org_id == org_id, ApiKey.environment.in_(selection.environments))
    if not selection.with_deleted:
        query = query.where(ApiKey.stored_state.not_in([State.REVOKED, State.FAILED]))
    return page(session, query, ApiKey.created_at, ApiKey.id, window)


def iterate_keys(session: AnySession, org_id: str, selection: Selection) -> Iterator[ApiKey]:
    """Return all of an organization's keys, newest first, a page in memory at a time."""
    cursor = None
    while True:
        found = list_keys(session, org_id, selection, Window(MOST, cursor))
        yield from found.rows
        cursor = found.next_cursor
        if cursor is None:
            return


def rename_key(session: AnySession, clock: Clock, actor: Actor, key: ApiKey, name: str) -> ApiKey:
    """Give the key another name.

    Raises:
        Invalid: the name is not usable.
    """
    former, key.name = key.name, checked_name(name)
    record(session, clock(), actor, "key.renamed", key.id, org_id=key.org_id, details={"from": former, "to": key.name})
    return key


def change_state(session: AnySession, clock: Clock, actor: Actor, key_id: str, change: Transition) -> ApiKey:
    """Make one change of state, if the key is in a state that allows it; check and change are one statement.

    Raises:
        KeyNotFound: there is no such key.
        WrongState: its state does not allow it; the message names the state.
    """
    now = clock()
    values: dict[str, object] = {"stored_state": change.to}
    if change.to in _MOMENT_OF:
        values[_MOMENT_OF[change.to]] = now
    changed = session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.stored_state.in_(change.sources))
        .values(values)
        .execution_options(synchronize_session=False)
    )
    key = get_key(session, key_id)
    if changed.rowcount == 0:  # type: ignore[attr-defined]
        raise WrongState(f"{key_id} is {key.state(now)}, and a key in that state cannot become {change.to}.")
    if change.to is State.REVOKED:
        journal.note(session, key.digest)
    record(session, now, actor, change.action, key.id, org_id=key.org_id)
    return key


def _checked_expiry(now: datetime, expires_at: datetime | None) -> datetime | None:
    if expires_at is not None and not now < expires_at <= now + _LONGEST_LIFE:
        raise Invalid(
            "The expiry must lie ahead, by 100 years at most; leave it out for a key without end.", field="expires_at"
        )
    return expires_at


def _checked_interval(rotate_every: timedelta | None) -> int | None:
    if rotate_every is None:
        return None
    if not SHORTEST_INTERVAL <= rotate_every <= _LONGEST_LIFE:
        raise Invalid("A key can be rotated every hour at the most, as in 90d.", field="rotate_every")
    return int(rotate_every.total_seconds())
