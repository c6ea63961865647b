"""The contract, phase by phase; every other module of the plugin is one phase, seen from near."""

from typing import ClassVar, Self

from mushu.destination import (
    Attempt,
    Conflict,
    Destination,
    DestinationError,
    Holding,
    Receipt,
    Secret,
    Surroundings,
)
from mushu_vault.change import Change, change
from mushu_vault.document import ABSENT, Value
from mushu_vault.engine import Look
from mushu_vault.settings import KNOWN, Settings
from mushu_vault.undo import Memory, unsealed
from mushu_vault.uri import SCHEME, Address, credential_refusal, holds_credential, parse_address
from mushu_vault.visit import Visit, visited


class VaultDestination(Destination):
    """One field of one secret in a KV engine."""

    scheme: ClassVar[str] = SCHEME
    known_settings: ClassVar[frozenset[str]] = KNOWN

    def __init__(self, address: Address, settings: Settings) -> None:
        self._address = address
        self._settings = settings

    def __repr__(self) -> str:
        return f"<VaultDestination {self.uri}>"

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        """Return the destination that `uri` names, or None when its scheme is another's."""
        settings = Settings(surroundings.settings)
        del surroundings  # it may hold a token, which a traceback printed with locals would show
        if uri.startswith(f"{SCHEME}:") and holds_credential(uri):
            del uri
            raise credential_refusal()
        address = parse_address(uri)
        return None if address is None else cls(address, settings)

    @property
    def uri(self) -> str:
        """The canonical spelling."""
        return self._address.uri

    def preflight(self) -> None:
        """Ask the server what our token may do there; write nothing."""
        with visited(self._address, self._settings) as visit:
            visit.check()

    def read(self) -> Holding:
        """Return what a client of the secret would get now."""
        with visited(self._address, self._settings) as visit:
            look = visit.engine.look()
            return Holding(look.version, look.value.digest)

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        """Change the one field, at the version that was looked at."""
        # 1. What JSON cannot carry exactly is refused before anything is asked.
        if not _is_text(secret):
            raise DestinationError("The value is no text that JSON can carry. Use another.", permanent=True)
        with visited(self._address, self._settings) as visit:
            # 2. Compare.
            look = visit.engine.look()
            if secret.matches(look.value.digest):
                visit.engine.name(look, attempt.key_id)
                return Receipt(look.version, secret.digest())
            visit.refuse_misplaced(look)
            if not _is_unchanged(visit, look, attempt.expected_version):
                raise self._conflict()
            # 3. Set; where the answer is unclear, look.
            done = change(visit.engine, look, Value(secret.reveal()))
            if isinstance(done, Change):
                visit.engine.name(done.before, attempt.key_id)
                memory = Memory(done.before.value, done.before.label)
                return Receipt(done.version, secret.digest(), memory.sealed())
            if secret.matches(done.value.digest):
                return Receipt(done.version, secret.digest())
            raise self._conflict()

    def restore(self, receipt: Receipt) -> bool:
        """Put the former value back, and keep what others did to the secret since."""
        with visited(self._address, self._settings) as visit:
            look = visit.engine.look()
            if look.value.digest != receipt.digest:
                return False
            if receipt.undo is None:
                raise DestinationError(
                    f"{self.uri} held this key before the write of this receipt, so there is nothing to go back to. "
                    "Leave it, or remove the key.",
                    permanent=True,
                )
            memory = unsealed(receipt.undo)
            return _brought(visit, look, memory.former, memory.label)

    def remove(self, digest: str) -> bool:
        """Take the field out if it holds the key; a secret that is empty without it is deleted, its history kept."""
        with visited(self._address, self._settings) as visit:
            look = visit.engine.look()
            return look.value.digest == digest and _brought(visit, look, ABSENT, None)

    def _conflict(self) -> Conflict:
        return Conflict(
            f"{self.uri} is no longer what it was when it was looked at. Nothing was written; see who else sets it, "
            "then try again."
        )


def _is_text(secret: Secret) -> bool:
    try:
        return bool(secret.reveal().encode())
    except UnicodeEncodeError:
        return False


def _is_unchanged(visit: Visit, look: Look, expected: str) -> bool:
    """Tell whether our field is as it was at the version `expected`, whatever its neighbours did since."""
    if look.version == expected:
        return True
    former = visit.engine.formerly(expected)
    return former is not None and former.digest == look.value.digest


def _brought(visit: Visit, look: Look, wanted: Value, label: str | None) -> bool:
    """Change our field to `wanted`, and tell whether that was done."""
    done = change(visit.engine, look, wanted)
    if not isinstance(done, Change):
        return False
    visit.engine.name(done.before, label)
    return True
