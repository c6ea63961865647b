"""Whether a request may pass: asked of Mushu, or remembered from a moment ago where the service allows that."""

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final, TypeAlias

from mushu.credential import Credential
from mushu.guard.answer import VerifiedKey, lacks_scope, undecided
from mushu.guard.connection import MushuConnection
from mushu.guard.request import Carrier, SentRequest, sent_with

#: Where the service finds the key; and who put it there, so that no other guard takes it for its own.
_KEY: Final = "mushu.key"
_VERIFIER: Final = "mushu.verifier"
#: Answers that are remembered, and requests of one process that asyncio waits for at once.
_MOST_ANSWERS: Final = 10_000
_THREADS: Final = 16
#: How often a question is sent at most, if the connection is lost.
_TRIES: Final = 2

#: What was asked: the digest of a key, the scope, the client's address.
_Question: TypeAlias = tuple[str, str | None, str | None]


class _OwnState:
    """What belongs to one process: threads do not survive a fork, and a lock may be held forever after one."""

    def __init__(self) -> None:
        self.process_id = os.getpid()
        self.threads = ThreadPoolExecutor(_THREADS, "mushu-guard")
        self.lock = threading.Lock()
        #: The key, and until when it may be told again, in seconds of `time.monotonic`; the oldest first.
        self.answers: dict[_Question, tuple[VerifiedKey, float]] = {}


class Verifier:
    """Lets requests pass, or raises `RequestDenied`.

    Args:
        address_source: where the client's address is (`request.py`).
    """

    def __init__(self, connection: MushuConnection, max_age: float, address_source: str | None) -> None:
        self._connection, self._max_age, self._source = connection, max_age, address_source
        self._state = _OwnState()

    def admit(self, carrier: Carrier, scope: str | None) -> None:
        """Put the key of a request beside the request, or raise `RequestDenied`."""
        if not self._admitted_before(carrier, scope):
            sent = sent_with(carrier, self._source)
            credential = sent.credential()
            self._note(carrier, self._remembered(sent, credential, scope) or self._ask(sent, credential, scope))

    async def admit_soon(self, carrier: Carrier, scope: str | None) -> None:
        """Do the same without keeping the event loop waiting."""
        if self._admitted_before(carrier, scope):
            return
        sent = sent_with(carrier, self._source)
        credential = sent.credential()
        found = self._remembered(sent, credential, scope)
        if found is None:
            loop, threads = asyncio.get_running_loop(), self._here().threads
            asked = loop.run_in_executor(threads, self._ask, sent, credential, scope)
            try:
                found = await asyncio.wait_for(asked, _TRIES * self._connection.timeout)
            except TimeoutError:
                raise undecided() from None
        self._note(carrier, found)

    def close(self) -> None:
        """Close the connections, and forget what is remembered."""
        self._connection.close()
        self._here().threads.shutdown(wait=False)
        self._state = _OwnState()

    def _admitted_before(self, carrier: Carrier, scope: str | None) -> bool:
        """Tell whether this guard let the same request pass already, or raise: only the scope can lack."""
        if carrier.get(_VERIFIER) is not self:
            return False
        held = carrier[_KEY].scopes
        if scope is not None and scope not in held:
            raise lacks_scope(scope, held)
        return True

    def _note(self, carrier: Carrier, found: VerifiedKey) -> None:
        carrier[_KEY], carrier[_VERIFIER] = found, self

    def _here(self) -> _OwnState:
        if self._state.process_id != os.getpid():
            self._state = _OwnState()
        return self._state

    def _remembered(self, sent: SentRequest, credential: Credential, scope: str | None) -> VerifiedKey | None:
        if not self._max_age:
            return None
        found = self._here().answers.get((credential.secret.digest(), scope, sent.address))
        if found is None or time.monotonic() >= found[1]:
            return None
        ends = found[0].expires_at
        return found[0] if ends is None or ends > datetime.now(UTC) else None

    def _ask(self, sent: SentRequest, credential: Credential, scope: str | None) -> VerifiedKey:
        began = time.monotonic()
        found = self._connection.ask(credential.secret, scope, sent.address)
        if self._max_age:
            state, question = self._here(), (credential.secret.digest(), scope, sent.address)
            with state.lock:
                state.answers.pop(question, None)
                state.answers[question] = found, began + self._max_age
                if len(state.answers) > _MOST_ANSWERS:
                    del state.answers[next(iter(state.answers))]
        return found
