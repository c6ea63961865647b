"""One notification to many devices: side by side, each with its own attempts, and none the other's trouble."""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mushu.server.clock import Clock
from mushu.server.resources.notifications.apple import Answer, Outcome, Step
from mushu.server.resources.notifications.lines import Lines, Request, Trouble
from mushu.server.resources.notifications.loop import BackgroundLoop
from mushu.server.resources.notifications.payload import PushType
from mushu.server.resources.notifications.provider_token import ProviderTokens
from mushu.server.resources.notifications.reasons import NOT_TRIED
from mushu.server.resources.tenants.credentials import ApnsCredentials

_IDS: Final = uuid.UUID("6f7d1c52-5f0e-5d0c-9a3e-3f2b8d1f5a77")
_PRIORITIES: Final = {PushType.ALERT: "10", PushType.BACKGROUND: "5"}
#: Seconds before the second attempt, and at most before any.
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 8.0


@dataclass(frozen=True, slots=True)
class Timing:
    """How long, and by which clock."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    #: Seconds that only ever grow.
    now: Callable[[], float] = time.monotonic
    #: A number from 0 to 1, so that not everybody tries again at the same moment.
    chance: Callable[[], float] = random.random
    attempts: int = 4
    #: For one attempt.
    attempt_seconds: float = 8
    #: For one notification to all of its devices: less than the half minute after which clients give up.
    total_seconds: float = 25


@dataclass(frozen=True, slots=True)
class Letter:
    """What is the same for every device."""

    host: str
    credentials: ApnsCredentials
    topic: str
    push_type: PushType
    payload: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Address:
    """One device, and the row that says so."""

    sending_id: int
    token: str
    apns_id: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of it."""

    address: Address
    outcome: Outcome
    attempts: int
    status: int | None = None
    reason: str | None = None
    #: The device is to be forgotten.
    forget: bool = False
    #: Since when it cannot be reached, where Apple says so.
    dead_since: datetime | None = None


def apns_id(notification_id: str, sending_id: int) -> str:
    """Return Apple's name for one notification to one device: the same for each attempt, and for who looks later."""
    return str(uuid.uuid5(_IDS, f"{notification_id} {sending_id}"))


class Sender:
    """Sends for all threads of a process."""

    def __init__(self, clock: Clock, timing: Timing | None = None) -> None:
        self.timing = timing or Timing()
        self._tokens = ProviderTokens(clock)
        self._lines = Lines()
        self._loop = BackgroundLoop()

    def deadline(self) -> float:
        """Return when a notification that begins now must have ended, by the clock of `timing`."""
        return self.timing.now() + self.timing.total_seconds

    def send(self, letter: Letter, addresses: Sequence[Address], deadline: float) -> list[Result]:
        """Send to all of them, and return what became of each, in their order."""
        return self._loop.run(self._send(letter, addresses, deadline))

    def close(self) -> None:
        """Close the connections, and end the thread."""
        self._loop.run(self._lines.close())
        self._loop.close()

    async def _send(self, letter: Letter, addresses: Sequence[Address], deadline: float) -> list[Result]:
        return list(await asyncio.gather(*(self._deliver(letter, address, deadline) for address in addresses)))

    async def _deliver(self, letter: Letter, address: Address, deadline: float) -> Result:
        """Try until there is an answer that counts, or no attempt or no time is left."""
        token, renewed, maybe_sent, attempt = self._tokens.current(letter.credentials), False, False, 0
        last: Answer | Trouble = Trouble(NOT_TRIED, maybe_sent=False)
        while attempt < self.timing.attempts:
            async with self._lines.line(letter.host, letter.credentials.team_id) as line:
                left = deadline - self.timing.now()
                if left <= 0:
                    break
                attempt += 1
                last = await line.post(_request(letter, address, token), min(left, self.timing.attempt_seconds))
            if isinstance(last, Trouble):
                maybe_sent = maybe_sent or last.maybe_sent
            elif last.step is Step.NEW_TOKEN and not renewed:
                refused, token = token, self._tokens.renewed(letter.credentials, token)
                renewed = True
                if token != refused:
                    continue
                break
            elif last.step is not Step.AGAIN:
                break
            if not await self._wait(last, attempt, deadline):
                break
        return _result(address, last, attempt, maybe_sent=maybe_sent)

    async def _wait(self, last: Answer | Trouble, attempt: int, deadline: float) -> bool:
        """Wait before the next attempt; return False if there is none, or it would come too late."""
        chance = self.timing.chance()
        seconds = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1)) * (0.5 + chance)
        if isinstance(last, Answer) and last.retry_after is not None:
            seconds = last.retry_after + chance
        if attempt >= self.timing.attempts or self.timing.now() + seconds >= deadline:
            return False
        await self.timing.sleep(seconds)
        return True


def _request(letter: Letter, address: Address, token: str) -> Request:
    headers = {
        "authorization": f"bearer {token}",
        "content-type": "application/json",
        "apns-topic": letter.topic,
        "apns-push-type": letter.push_type,
        "apns-priority": _PRIORITIES[letter.push_type],
        "apns-expiration": str(int(letter.expires_at.timestamp())),
        "apns-id": address.apns_id,
    }
    if letter.push_type is PushType.ALERT:
        # Apple promises nothing about an apns-id that it has seen before; a second one with this is shown as one.
        headers["apns-collapse-id"] = address.apns_id
    return Request(address.token, headers, letter.payload)


def _result(address: Address, last: Answer | Trouble, attempts: int, *, maybe_sent: bool) -> Result:
    if isinstance(last, Trouble) or last.step is Step.AGAIN:
        outcome = Outcome.UNKNOWN if maybe_sent else Outcome.FAILED
        status = last.status if isinstance(last, Answer) else None
        return Result(address, outcome, attempts, status, last.reason)
    outcome = Outcome.SENT if last.step is Step.DONE else Outcome.FAILED
    forget = last.step is Step.FORGET
    return Result(address, outcome, attempts, last.status, last.reason, forget, last.dead_since)
