"""API keys as rows: finding them, listing them, renaming them, and their changes of state (`states.py`)."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from sqlalchemy import Integer, String, bindparam, literal_column, select, update

from mushu.environment import Environment
from mushu.server import rate_limits
from mushu.server.audit import Actor, Detail, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.environments import Source, prepare
from mushu.server.errors import KeyNotFound, WrongState
from mushu.server.keys import Network, revocation_journal, stored_networks
from mushu.server.keys.models import IS_OPEN, IS_PENDING, RECORD, ApiKey, Rotation
from mushu.server.keys.records import KeyBounds, KeyRecord
from mushu.server.keys.selection import IS_ALIVE, Selection
from mushu.server.keys.states import State, Transition
from mushu.server.orgs.service import checked_name
from mushu.server.paging import Order, Page, PreparedPages, Window, iterate, merged_page
from mushu.server.rate_limits import Limit

_NEWEST_FIRST: Final = Order((ApiKey.created_at, ApiKey.id), descending=True)
_RECORDS: Final = select(*RECORD).where(
    ApiKey.org_id == bindparam("org_id"), ApiKey.environment == bindparam("environment")
)
_SHOWN: Final = PreparedPages(_RECORDS.where(IS_ALIVE), _NEWEST_FIRST, KeyRecord)
_MOVING: Final = (State.PENDING, State.RETIRING)
_IN_MOTION: Final = PreparedPages(_RECORDS.where(ApiKey.stored_state.in_(_MOVING)), _NEWEST_FIRST, KeyRecord)
#: That a key is the organization's, as no index has it: what is rare on a whole server is found before its many keys.
_OF_ORG: Final = ApiKey.org_id.concat(literal_column("''")) == bindparam("org_id", type_=String)
_NEWEST_OF_MANY: Final = (
    select(*RECORD)
    .where(_OF_ORG, ApiKey.environment == bindparam("environment"))
    .order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    .limit(bindparam("limit", type_=Integer))
)
_MOVING_OF_MANY: Final = (
    prepare(_NEWEST_OF_MANY.where(IS_PENDING), KeyRecord),
    prepare(
        _NEWEST_OF_MANY.where(
            ApiKey.stored_state == State.RETIRING, ApiKey.id.in_(select(Rotation.predecessor_id).where(IS_OPEN))
        ),
        KeyRecord,
    ),
)
_ONE: Final = prepare(
    _RECORDS.add_columns(ApiKey.rotate_every, ApiKey.rotate_at, ApiKey.limits, ApiKey.networks).where(
        ApiKey.id == bindparam("id")
    )
)
_NAMES: Final = prepare(
    select(ApiKey.id, ApiKey.name, ApiKey.environment).where(ApiKey.id.in_(bindparam("ids", expanding=True)))
)
_MOMENT_OF: Final = {State.ACTIVE: "activated_at", State.REVOKED: "revoked_at"}


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
        raise _not_found(org_id, environment, key_id)
    return key


def read_key_of(source: Source, org_id: str, environment: Environment, key_id: str) -> tuple[KeyRecord, KeyBounds]:
    """Return the key if it belongs to this organization and environment, deleted ones included.

    Raises:
        KeyNotFound: it does not.
    """
    found = _ONE.rows(source, {"id": key_id, "org_id": org_id, "environment": environment.value})
    if not found:
        raise _not_found(org_id, environment, key_id)
    return KeyRecord(*found[0][: -len(KeyBounds._fields)]), KeyBounds(*found[0][-len(KeyBounds._fields) :])


def _not_found(org_id: str, environment: Environment, key_id: str) -> KeyNotFound:
    return KeyNotFound(f"There is no {environment} API key {key_id!r} in {org_id}.")


def names_of_keys(source: Source, key_ids: Sequence[str]) -> dict[str, tuple[str, Environment]]:
    """Return the names and environments of these keys by id; unknown ids are left out."""
    rows = _NAMES.rows(source, {"ids": key_ids})
    return {key_id: (name, Environment(environment)) for key_id, name, environment in rows}


def list_keys(session: AnySession, org_id: str, selection: Selection, window: Window) -> Page[ApiKey]:
    """Return a page of an organization's keys, newest first.

    Raises:
        Invalid: the cursor is not one of ours, or what is searched is a whole key.
    """
    query = select(ApiKey).where(*selection.criteria(org_id))
    queries = [query.where(ApiKey.environment == environment) for environment in selection.environments]
    return merged_page(session, queries, _NEWEST_FIRST, window)


def read_keys(source: Source, org_id: str, environment: Environment, window: Window) -> Page[KeyRecord]:
    """Return what a page of an organization's keys shows of each that is not over for good, newest first.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    return _SHOWN.page(source, {"org_id": org_id, "environment": environment.value}, window)


def read_moving_keys(source: Source, org_id: str, environment: Environment, most: int) -> Sequence[KeyRecord]:
    """Return the newest keys of an organization that wait for a delivery, or make way; looks at each of its keys."""
    given = {"org_id": org_id, "environment": environment.value}
    return _IN_MOTION.page(source, given, Window(most)).rows


def read_moving_of_many(source: Source, org_id: str, environment: Environment, most: int) -> Sequence[KeyRecord]:
    """Return the same for an organization with very many keys: looks at each key of the server that moves."""
    given = {"org_id": org_id, "environment": environment.value, "limit": most}
    found = [key for query in _MOVING_OF_MANY for key in query.rows(source, given)]
    return sorted(found, key=lambda key: (key.created_at, key.id), reverse=True)[:most]


def iterate_keys(session: AnySession, org_id: str, selection: Selection) -> Iterator[ApiKey]:
    """Return all of an organization's keys, newest first, a page in memory at a time."""
    return iterate(partial(list_keys, session, org_id, selection))


def rename_key(session: AnySession, clock: Clock, actor: Actor, key: ApiKey, name: str) -> ApiKey:
    """Give the key another name.

    Raises:
        Invalid: the name is not usable.
    """
    former, key.name = key.name, checked_name(name)
    record(session, clock(), actor, "key.renamed", key.id, org_id=key.org_id, details={"from": former, "to": key.name})
    return key


def restrict_key(
    session: AnySession,
    clock: Clock,
    actor: Actor,
    key: ApiKey,
    *,
    limits: Sequence[Limit] | None = None,
    networks: Sequence[Network] | None = None,
) -> ApiKey:
    """Change how often and from where the key may be used; None leaves it as it is, and empty takes it back."""
    details: dict[str, Detail] = {}
    if limits is not None:
        key.limits = rate_limits.stored(limits)
        details["limits"] = [*map(str, limits)]
    if networks is not None:
        key.networks = stored_networks(networks)
        details["networks"] = [*map(str, networks)]
    record(session, clock(), actor, "key.restricted", key.id, org_id=key.org_id, details=details)
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
        state = key.state(now)
        if state is change.to:
            raise WrongState(f"{key_id} is {state} already.")
        raise WrongState(f"{key_id} is {state}, and a key in that state cannot become {change.to}.")
    if change.to is State.REVOKED:
        revocation_journal.note(session, key.digest)
    record(session, now, actor, change.action, key.id, org_id=key.org_id)
    return key
