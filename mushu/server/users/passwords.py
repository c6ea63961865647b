from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mushu.secret import Secret
from mushu.server.errors import Invalid

MIN_LENGTH = 12
#: Long enough for any passphrase, short enough that hashing one is no way to keep the server busy.
MAX_LENGTH = 1024


class Passwords:
    """Argon2id (RFC 9106), a few at a time: each hash takes 19 MiB and a core, and the API must go on answering.

    Args:
        time_cost: passes over the memory.
        memory_kib: memory per hash in KiB.
        concurrency: hashes computed at once in this process; further callers wait.
    """

    def __init__(self, *, time_cost: int, memory_kib: int, concurrency: int) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._turnstile = BoundedSemaphore(concurrency)
        # Verified against when there is no account, so that its absence takes the same time.
        self._decoy: str | None = None

    def hash(self, password: Secret) -> str:
        """Return the Argon2id hash in PHC string format.

        Raises:
            Invalid: too short or too long.
        """
        length = len(password.reveal())
        if not MIN_LENGTH <= length <= MAX_LENGTH:
            raise Invalid(f"A password must have {MIN_LENGTH} to {MAX_LENGTH} characters.", field="password")
        with self._turnstile:
            return self._hasher.hash(password.reveal())

    def verify(self, known_hash: str | None, password: Secret) -> bool:
        """Tell whether `password` fits; with no hash it takes the same path and the answer is False."""
        fits = self._fits(known_hash or self._decoy_hash(), password)
        return fits and known_hash is not None and len(password.reveal()) <= MAX_LENGTH

    def _fits(self, known_hash: str, password: Secret) -> bool:
        with self._turnstile:
            try:
                return self._hasher.verify(known_hash, password.reveal())
            except (VerificationError, InvalidHashError):
                return False

    def _decoy_hash(self) -> str:
        if self._decoy is None:
            with self._turnstile:
                self._decoy = self._hasher.hash("no account has this password")
        return self._decoy
