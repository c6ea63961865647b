"""The one thing that outlives an operation: tokens from logins, until they end.

Why at all: a secret id may be good for few logins or one, and one run may look at a thousand destinations from
sixteen threads. Why nothing else: everything else is asked again, so nothing can be stale.

Kept by everything that makes a login what it is (server, namespace, certificates, method, role, digest of the secret id
or JWT): a change of any is another login. One thread logs in, others that need the same token wait for it, those
that need another do not. A forked child keeps the tokens and gets fresh locks, since those of its parent may be held by
threads that it does not have. Tokens are held as `Secret`, in memory only.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mushu.destination import Secret

#: What tells one login from another: no secret in it, only digests.
Identity = tuple[object, ...]

# A token that ends while a request is on its way is noticed, too; this only saves one refused request.
_MARGIN: Final = 0.1
# More logins than any machine has; without an end, roles that come and go would pile up.
_MOST: Final = 128


@dataclass(frozen=True, slots=True)
class TokenLease:
    """A token, and for how many seconds it was given; None forever."""

    token: Secret
    seconds: float | None


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    token: Secret | None = None
    ends: float = 0.0


class TokenStore:
    """TokenStore by the login that they came from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[Identity, _Entry] = {}

    def obtain(self, identity: Identity, log_in: Callable[[], TokenLease]) -> Secret:
        """Return the token of `identity`, from `log_in` where there is none that lasts.

        Raises:
            whatever `log_in` raises; then nothing is kept, and whoever waited tries for itself.
        """
        with self._lock:
            # Taken out and put back, so that the one used longest ago stands first.
            entry = self._entries.pop(identity, None) or _Entry()
            self._entries[identity] = entry
            while len(self._entries) > _MOST:
                del self._entries[next(iter(self._entries))]
        with entry.lock:
            if entry.token is None or time.monotonic() >= entry.ends:
                entry.token = None
                lease = log_in()
                entry.ends = _end_of(lease)
                entry.token = lease.token
            return entry.token

    def drop(self, identity: Identity, token: Secret) -> None:
        """Forget `token`, unless another has taken its place by now."""
        with self._lock:
            entry = self._entries.get(identity)
        if entry is not None:
            with entry.lock:
                if entry.token is token:
                    entry.token = None

    def forget_locks(self) -> None:
        """Start over with the same tokens: in a child, where locks of other threads are never released."""
        self._lock = threading.Lock()
        self._entries = {
            identity: _Entry(token=entry.token, ends=entry.ends) for identity, entry in self._entries.items()
        }


def _end_of(lease: TokenLease) -> float:
    return float("inf") if lease.seconds is None else time.monotonic() + lease.seconds * (1 - _MARGIN)


SHARED: Final = TokenStore()
os.register_at_fork(after_in_child=SHARED.forget_locks)
