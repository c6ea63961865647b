"""Argon2id for passwords: slow on purpose, so few at a time, at a low priority, and nobody waits for long."""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from threading import BoundedSemaphore, get_native_id
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mushu.secret import Secret
from mushu.server.errors import Busy, Invalid

MIN_LENGTH = 12
#: Long enough for any passphrase, short enough that hashing one is no way to keep the server busy.
MAX_LENGTH = 1024
#: People who sign in at once, in one process; each holds a thread.
_MOST_SIGNING_IN: Final = 8
#: Seconds that a password waits for those before it.
_PATIENCE: Final = 10
#: How much a thread that hashes gives way to those that answer requests.
_NICENESS: Final = 10
_BUSY: Final = "Too many people sign in at this moment. Try again shortly."

Result = TypeVar("Result")


class Passwords:
    """Argon2id (RFC 9106), a few at a time: each hash takes 19 MiB and a core, and the API must go on answering.

    Args:
        time_cost: passes over the memory.
        memory_kib: memory per hash in KiB.
        concurrency: hashes computed at once in this process; further callers wait.
    """

    def __init__(self, *, time_cost: int, memory_kib: int, concurrency: int) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._concurrency = concurrency
        self._signing_in = BoundedSemaphore(max(_MOST_SIGNING_IN, concurrency))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold one of the turns to sign in; taken before an attempt is counted, because a refusal is none.

        Raises:
            Busy: too many others sign in.
        """
        if not self._signing_in.acquire(blocking=False):
            raise Busy(_BUSY)
        try:
            yield
        finally:
            self._signing_in.release()

    def hash(self, password: Secret) -> str:
        """Return the Argon2id hash in PHC string format.

        Raises:
            Invalid: too short or too long.
            Busy: too many others wait.
        """
        if not MIN_LENGTH <= len(password.reveal()) <= MAX_LENGTH:
            raise Invalid(f"A password must have {MIN_LENGTH} to {MAX_LENGTH} characters.", field="password")
        return self._done(lambda: self._hasher.hash(password.reveal()))

    def verify(self, known_hash: str | None, password: Secret) -> bool:
        """Tell whether `password` fits; with no hash it takes the same path and the answer is False.

        Raises:
            Busy: too many others wait.
        """
        fits = self._done(lambda: self._fits(known_hash or self._decoy, password))
        return fits and known_hash is not None and len(password.reveal()) <= MAX_LENGTH

    def _fits(self, known_hash: str, password: Secret) -> bool:
        try:
            return self._hasher.verify(known_hash, password.reveal())
        except (VerificationError, InvalidHashError):
            return False

    @cached_property
    def _decoy(self) -> str:
        """Verified against when there is no account, so that its absence takes the same time."""
        return self._hasher.hash("no account has this password")

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Those that hash; made with the first password, because a fork takes no thread along."""
        return ThreadPoolExecutor(self._concurrency, "argon2", initializer=_give_way)

    def _done(self, work: Callable[[], Result]) -> Result:
        future = self._threads.submit(work)
        try:
            return future.result(_PATIENCE)
        except TimeoutError:
            future.cancel()
            raise Busy(_BUSY) from None


def _give_way() -> None:
    """Lower the priority of this thread, where the system has one for each thread."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)
