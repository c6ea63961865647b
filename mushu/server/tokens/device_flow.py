"""The device flow (RFC 8628): a program shows a short code, a signed-in user approves it in a browser.

waiting ─→ approved ─→ used          waiting ─→ denied          any of them is over after ten minutes
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select, true, update

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind, record
from mushu.server.client_address import UNKNOWN, Address, network_of, shown
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import TooManyAttempts, UserCodeNotFound
from mushu.server.tokens.models import CliToken, DeviceAuthorization
from mushu.server.tokens.service import issue_token
from mushu.server.users.models import User
from mushu.server.users.service import lock_user

LIFETIME: Final = timedelta(minutes=10)
INTERVAL: Final = 5
#: Consonants only, none of which looks like another: no words appear, and none is misread (RFC 8628, section 6.1).
USER_CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LENGTH: Final = 8
#: Programs of one network that may wait at once, and of all that have no address.
MOST_WAITING: Final = 50
MOST_WITHOUT_ADDRESS: Final = 1_000
#: Rows at once, whoever made them.
MOST_ROWS: Final = 5_000


class DeviceState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"


class DeviceError(StrEnum):
    """What the program is told while there is no token (RFC 8628, section 3.5; RFC 6749, section 5.2)."""

    AUTHORIZATION_PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - the RFC's word
    ACCESS_DENIED = "access_denied"
    INVALID_GRANT = "invalid_grant"


@dataclass(frozen=True, slots=True)
class Granted:
    """The program gets its token."""

    token: CliToken
    secret: Secret
    user: User


def start(
    session: AnySession, clock: Clock, address: Address | None, client_name: str | None
) -> tuple[DeviceAuthorization, Secret]:
    """Return a new run of the flow, and the device code, which is nowhere else.

    Raises:
        TooManyAttempts: too many programs of this network are waiting.
    """
    now = clock()
    _make_room(session, now, network_of(address))
    secret = generate(Prefix.DEVICE_CODE)
    authorization = DeviceAuthorization(
        id=public_id("dev"),
        device_code_digest=secret.digest(),
        user_code="".join(secrets.choice(USER_CODE_LETTERS) for _ in range(USER_CODE_LENGTH)),
        state=DeviceState.WAITING,
        client_name=client_name,
        address=shown(address),
        network=network_of(address),
        created_at=now,
        expires_at=now + LIFETIME,
        interval=INTERVAL,
    )
    session.add(authorization)
    return authorization, secret


def get_waiting(session: AnySession, clock: Clock, user_code: str) -> DeviceAuthorization:
    """Return the run that waits for this code; small letters, blanks and hyphens make no difference.

    Raises:
        UserCodeNotFound: none waits for it, or not any more.
    """
    letters = "".join(letter for letter in user_code.upper() if letter.isalpha())
    waiting = select(DeviceAuthorization).where(
        DeviceAuthorization.user_code == letters,
        DeviceAuthorization.state == DeviceState.WAITING,
        DeviceAuthorization.expires_at > clock(),
    )
    found = session.scalars(waiting).one_or_none()
    if found is None:
        raise UserCodeNotFound("No program waits for this code. Check it, or start again in your terminal.")
    return found


def decide(session: AnySession, clock: Clock, user: User, user_code: str, *, approve: bool) -> DeviceAuthorization:
    """Approve or deny the run that waits for this code, once.

    Raises:
        UserCodeNotFound: none waits for it, or somebody was a moment faster.
    """
    authorization = get_waiting(session, clock, user_code)
    state = DeviceState.APPROVED if approve else DeviceState.DENIED
    decision = {"user_id": user.id, "decided_at": clock()}
    if not _move(session, authorization, DeviceState.WAITING, state, **decision):
        raise UserCodeNotFound("This code was just decided upon.")
    actor = Actor(ActorKind.USER, user.id)
    record(session, clock(), actor, f"device.{state}", authorization.id, details={"client": authorization.client_name})
    return authorization


def ask(session: AnySession, clock: Clock, device_code: Secret) -> Granted | DeviceError:
    """Answer a program that asks for its token, and note that it asked: the caller must commit either way."""
    now = clock()
    asked = select(DeviceAuthorization).where(DeviceAuthorization.device_code_digest == device_code.digest())
    authorization = session.scalars(asked.with_for_update().execution_options(populate_existing=True)).one_or_none()
    if authorization is None or authorization.state == DeviceState.USED:
        return DeviceError.INVALID_GRANT
    if authorization.expires_at <= now:
        return DeviceError.EXPIRED_TOKEN
    if _too_soon(authorization, now):
        return DeviceError.SLOW_DOWN
    if authorization.state == DeviceState.WAITING:
        return DeviceError.AUTHORIZATION_PENDING
    user = lock_user(session, authorization.user_id or "")
    if authorization.state == DeviceState.DENIED or user is None or not _is_approved_by(authorization, user):
        return DeviceError.ACCESS_DENIED
    if not _move(session, authorization, DeviceState.APPROVED, DeviceState.USED):
        return DeviceError.INVALID_GRANT
    token, secret = issue_token(session, clock, user, authorization.client_name)
    return Granted(token, secret, user)


def _is_approved_by(authorization: DeviceAuthorization, user: User) -> bool:
    """Tell whether the approval still counts: it ends when the user changes the password or is disabled."""
    decided_at = authorization.decided_at
    return user.disabled_at is None and decided_at is not None and decided_at >= user.tokens_valid_from


def _make_room(session: AnySession, now: datetime, network: str) -> None:
    """Keep the table small, whoever fills it: who has no address, or no room is left for, takes the oldest row's place.

    Only a network of its own is refused more: nobody else is kept out by that. Approved runs stay.
    """
    session.execute(delete(DeviceAuthorization).where(DeviceAuthorization.expires_at < now - LIFETIME))
    mine = DeviceAuthorization.network == network
    waiting = select(func.count()).where(mine, DeviceAuthorization.expires_at > now)
    if network != UNKNOWN and (session.scalar(waiting) or 0) >= MOST_WAITING:
        raise TooManyAttempts(
            "Too many programs wait for a sign-in already. Try again in ten minutes.", retry_after=600
        )
    if network == UNKNOWN:
        _drop_oldest(session, MOST_WITHOUT_ADDRESS - 1, mine)
    _drop_oldest(session, MOST_ROWS - 1, true())


def _drop_oldest(session: AnySession, kept: int, which: ColumnElement[bool]) -> None:
    """Delete the oldest of these runs, so that no more than `kept` are left."""
    beyond = (session.scalar(select(func.count()).select_from(DeviceAuthorization).where(which)) or 0) - kept
    if beyond > 0:
        oldest = select(DeviceAuthorization.id).where(which, DeviceAuthorization.state != DeviceState.APPROVED)
        gone = oldest.order_by(DeviceAuthorization.created_at, DeviceAuthorization.id).limit(beyond)
        session.execute(delete(DeviceAuthorization).where(DeviceAuthorization.id.in_(gone)))


def _too_soon(authorization: DeviceAuthorization, now: datetime) -> bool:
    """Note the question, and tell whether it came before the interval was over, which makes the interval longer."""
    last, authorization.last_asked_at = authorization.last_asked_at, now
    # A second of grace: the program counts from when our answer reached it.
    if last is None or now >= last + timedelta(seconds=authorization.interval - 1):
        return False
    authorization.interval += 5
    return True


def _move(
    session: AnySession,
    authorization: DeviceAuthorization,
    source: DeviceState,
    to: DeviceState,
    **decision: object,
) -> bool:
    """Change the state, if it is still `source`; tell whether it was.

    Args:
        decision: who decided, and when, where somebody does.
    """
    values: dict[str, object] = {"state": to, **decision}
    moved = session.execute(
        update(DeviceAuthorization)
        .where(DeviceAuthorization.id == authorization.id, DeviceAuthorization.state == source)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    return moved.rowcount > 0  # type: ignore[attr-defined,no-any-return]
