"""The keys that seal, and their file: one per line, the newest first. The newest seals, every one opens."""

import base64
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mushu.ownership import fault_of_file
from mushu.server.errors import SealingFailed
from mushu.server.instance import make_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
#: Stands before every sealed value, so that another format can come later.
_FORMAT: Final = "1"
_WAY_OUT: Final = "What was sealed has to be entered again if there is no backup: see docs/sealing.md."


@dataclass(frozen=True, slots=True, repr=False)
class SealingKey:
    """One key of AES-256-GCM, and a name for it that gives nothing of it away."""

    material: bytes

    @property
    def id(self) -> str:
        return hashlib.sha256(b"mushu sealing key " + self.material).hexdigest()[:8]

    @property
    def line(self) -> str:
        return base64.urlsafe_b64encode(self.material).decode()


@dataclass(frozen=True, slots=True, repr=False)
class Ring:
    """The keys at one moment, the newest first."""

    keys: tuple[SealingKey, ...]
    #: Where they were read, for messages.
    source: Path

    def seal(self, text: str, context: str) -> str:
        """Return `text` encrypted with the newest key; only who names the same `context` can open it."""
        key, nonce = self.keys[0], secrets.token_bytes(_NONCE_BYTES)
        sealed = _cipher(key).encrypt(nonce, text.encode(), _bound(key.id, context))
        return f"{_FORMAT}.{key.id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def unseal(self, sealed: str, context: str) -> str:
        """Return what was sealed.

        Raises:
            SealingFailed: its key is not here, or it was changed, or it was sealed for another context.
        """
        key_id = key_id_of(sealed)
        key = next((key for key in self.keys if key.id == key_id), None)
        if key is None:
            raise SealingFailed(
                f"{context} is sealed with the key {key_id or '(none)'}, which is not in {self.source}. "
                f"Restore the file that had it. {_WAY_OUT}"
            )
        from cryptography.exceptions import InvalidTag  # as in `_cipher`

        try:
            content = base64.urlsafe_b64decode(sealed.split(".", 2)[2])
            plain = _cipher(key).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], _bound(key.id, context))
        except (InvalidTag, ValueError):
            plain = None
        if plain is None:  # raised here, so that nothing of the attempt is chained to it
            raise SealingFailed(
                f"{context} does not open: somebody changed it in the database, or moved it there from another row. "
                f"Restore the database. {_WAY_OUT}"
            )
        return plain.decode()

    def with_new_key(self) -> "Ring":
        return Ring((_new_key(), *self.keys), self.source)

    def newest_only(self) -> "Ring":
        return Ring(self.keys[:1], self.source)


@dataclass(frozen=True, slots=True)
class SealingKeys:
    """The file of the ring. It is read whenever it is needed: another process may have rotated the keys meanwhile."""

    path: Path

    def exist(self) -> bool:
        return self.path.exists()

    def load(self) -> Ring:
        """Return the keys.

        Raises:
            SealingFailed: the file is missing, cannot be read, is damaged, or others could have written it.
        """
        try:
            found = self._found()
        except FileNotFoundError:
            reason = "is missing"
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
        else:
            if found:
                return Ring(found, self.path)
            reason = "is damaged"
        # Raised here, where no local holds a line of the file.
        raise SealingFailed(f"{self.path} {reason}. Restore it from a backup. {_WAY_OUT}")

    def _found(self) -> tuple[SealingKey, ...]:
        """Return the keys of the file; none where one of its lines is no key."""
        with self.path.open(encoding="latin-1") as file:
            fault = fault_of_file(self.path, os.fstat(file.fileno()), "the sealing keys")
            if fault is not None:
                raise SealingFailed(fault)
            found = [_key_of(line) for line in file.read().splitlines() if line.strip()]
        return () if None in found else tuple(key for key in found if key is not None)

    def begin(self) -> bool:
        """Generate the first key; False where there is a ring already, which is left as it is."""
        fresh = self._written(Ring((_new_key(),), self.path))
        try:
            os.link(fresh, self.path)  # whole or not at all, and of two processes one only
        except FileExistsError:
            return False
        finally:
            fresh.unlink()
        _flush(self.path.parent)
        return True

    def replace(self, ring: Ring) -> None:
        """Put `ring` in the place of the keys, all or nothing; whose the file is and who may read it stays."""
        target = self.path.resolve()  # what a link leads to, not the link
        former = target.stat()
        fresh = self._written(ring)
        if (former.st_uid, former.st_gid) != (fresh.stat().st_uid, fresh.stat().st_gid):
            os.chown(fresh, former.st_uid, former.st_gid)  # as root for the account that the server runs as
        fresh.chmod(stat.S_IMODE(former.st_mode))
        fresh.rename(target)
        _flush(target.parent)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time rotate; a dead one loses the lock."""
        lock = self.path.resolve().with_name(f"{self.path.name}.lock")
        make_private(lock, "")
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for left in lock.parent.glob(f".{self.path.name}.*.tmp"):  # by a process that was killed
                left.unlink(missing_ok=True)
            yield

    def _written(self, ring: Ring) -> Path:
        """Return a private file beside the ring's, flushed to the disk."""
        folder = self.path.resolve().parent
        fresh = folder / f".{self.path.name}.{secrets.token_hex(8)}.tmp"
        try:
            make_private(fresh, "".join(f"{key.line}\n" for key in ring.keys))
            _flush(fresh)
        except OSError as error:
            fault = error.strerror
        else:
            return fresh
        raise SealingFailed(f"Nothing can be written in {folder} ({fault}), where the sealing keys belong.")


def key_id_of(sealed: str) -> str | None:
    """Return the name of the key that `sealed` was sealed with; None where that is not what it is."""
    parts = sealed.split(".")
    return parts[1] if len(parts) == 3 and parts[0] == _FORMAT else None


def _cipher(key: SealingKey) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # not loaded by who seals and opens nothing

    return AESGCM(key.material)


def _bound(key_id: str, context: str) -> bytes:
    return f"{_FORMAT}.{key_id}.{context}".encode()


def _new_key() -> SealingKey:
    return SealingKey(secrets.token_bytes(_KEY_BYTES))


def _key_of(line: str) -> SealingKey | None:
    try:
        material = base64.b64decode(line.strip(), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return SealingKey(material) if len(material) == _KEY_BYTES else None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
