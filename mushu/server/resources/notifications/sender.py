"""One notification to many devices, at the same time, each with its own attempts."""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mushu.server.clock import Clock
from mushu.server.resources.apple_credentials import ApnsCredentials, ProviderTokens
from mushu.server.resources.notifications.apns import NOT_TRIED, Answer, NextStep, Outcome, PushType
from mushu.server.resources.notifications.connection import BackgroundLoop, Connections, NoAnswer, PushRequest

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
class PushMessage:
    """What is the same for every device."""

    host: str
    credentials: ApnsCredentials
    topic: str
    push_type: PushType
    payload: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Recipient:
    """One device, and the row that says so."""

    sending_id: int
    token: str
    apns_id: str


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of it at one device."""

    recipient: Recipient
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
        self._connections = Connections()
        self._loop = BackgroundLoop()

    def deadline(self) -> float:
        """Return when a notification that begins now must have ended, by the clock of `timing`."""
        return self.timing.now() + self.timing.total_seconds

    def send(self, message: PushMessage, recipients: Sequence[Recipient], deadline: float) -> list[PushResult]:
        """Send to all of them, and return what became of each, in their order."""
        return self._loop.run(self._send(message, recipients, deadline))

    def close(self) -> None:
        """Close the connections, and end the thread."""
        self._loop.run(self._connections.close())
        self._loop.close()

    async def _send(self, message: PushMessage, recipients: Sequence[Recipient], deadline: float) -> list[PushResult]:
        return list(await asyncio.gather(*(self._deliver(message, recipient, deadline) for recipient in recipients)))

    async def _deliver(self, message: PushMessage, recipient: Recipient, deadline: float) -> PushResult:
        """Try until there is an answer that counts, or no attempt or no time is left."""
        token, renewed, maybe_sent, attempt = self._tokens.current(message.credentials), False, False, 0
        last: Answer | NoAnswer = NoAnswer(NOT_TRIED, maybe_sent=False)
        while attempt < self.timing.attempts:
            async with self._connections.connection(message.host, message.credentials.team_id) as connection:
                left = deadline - self.timing.now()
                if left <= 0:
                    break
                attempt += 1
                last = await connection.post(
                    _request(message, recipient, token), min(left, self.timing.attempt_seconds)
                )
            if isinstance(last, NoAnswer):
                maybe_sent = maybe_sent or last.maybe_sent
            elif last.next_step is NextStep.NEW_TOKEN and not renewed:
                refused, token = token, self._tokens.renewed(message.credentials, token)
                renewed = True
                if token != refused:
                    continue
                break
            elif last.next_step is not NextStep.AGAIN:
                break
            if not await self._wait(last, attempt, deadline):
                break
        return _result(recipient, last, attempt, maybe_sent=maybe_sent)

    async def _wait(self, last: Answer | NoAnswer, attempt: int, deadline: float) -> bool:
        """Wait before the next attempt; return False if there is none, or it would come too late."""
        chance = self.timing.chance()
        seconds = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1)) * (0.5 + chance)
        if isinstance(last, Answer) and last.retry_after is not None:
            seconds = last.retry_after + chance
        if attempt >= self.timing.attempts or self.timing.now() + seconds >= deadline:
            return False
        await self.timing.sleep(seconds)
        return True


def _request(message: PushMessage, recipient: Recipient, token: str) -> PushRequest:
    headers = {
        "authorization": f"bearer {token}",
        "content-type": "application/json",
        "apns-topic": message.topic,
        "apns-push-type": message.push_type,
        "apns-priority": _PRIORITIES[message.push_type],
        "apns-expiration": str(int(message.expires_at.timestamp())),
        "apns-id": recipient.apns_id,
    }
    if message.push_type is PushType.ALERT:
        # Apple promises nothing about an apns-id that it has seen before; a second one with this is shown as one.
        headers["apns-collapse-id"] = recipient.apns_id
    return PushRequest(recipient.token, headers, message.payload)


def _result(recipient: Recipient, last: Answer | NoAnswer, attempts: int, *, maybe_sent: bool) -> PushResult:
    if isinstance(last, NoAnswer) or last.next_step is NextStep.AGAIN:
        outcome = Outcome.UNKNOWN if maybe_sent else Outcome.FAILED
        status = last.status if isinstance(last, Answer) else None
        return PushResult(recipient, outcome, attempts, status, last.reason)
    outcome = Outcome.SENT if last.next_step is NextStep.DONE else Outcome.FAILED
    forget = last.next_step is NextStep.FORGET
    return PushResult(recipient, outcome, attempts, last.status, last.reason, forget, last.dead_since)
