"""The contract, phase by phase: open the secret, check, read, write, put back, remove.

Every other module of the plugin is a part of one phase.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final, Self

from mushu.destination import (
    Attempt,
    Conflict,
    Destination,
    DestinationError,
    Holding,
    Label,
    Location,
    Receipt,
    Secret,
    Surroundings,
)
from mushu_vault import policy
from mushu_vault.client import A_LOOK, EVERYTHING, VaultClient
from mushu_vault.connection import VaultConnection
from mushu_vault.engine import Changed, Engine, Presence, StoredSecret, change
from mushu_vault.json_object import ABSENT, FieldValue, JsonObject
from mushu_vault.kv import PlainEngine, VersionedEngine, entry_of
from mushu_vault.login import login_from
from mushu_vault.mount import Mount, find_location, find_mount
from mushu_vault.settings import KNOWN, VaultSettings, server_from
from mushu_vault.uri import SCHEME, VaultAddress, credential_refusal, holds_credential, parse_address

logger = logging.getLogger(__name__)

# What the API puts between mount and path in version 2, and people copy from there.
_API_WORDS: Final = ("data/", "metadata/")

# Bytes. The storage adds some of its own to a secret.
_RAFT_TAKES: Final = 1024 * 1024
_ROOM_FOR_A_KEY: Final = 512

# A key that ends sooner is warned of: there is time to rotate it, and no rotation by the clock cuts it so close.
_SOON: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class OpenSecret:
    """The secret of an address, for as long as its connection is open."""

    address: VaultAddress
    client: VaultClient
    mount: Mount
    engine: Engine

    def refuse_misplaced(self, stored: StoredSecret) -> None:
        """Raise if the path is most likely one of the API, copied. A secret of that name is used, but not made."""
        word = next((word for word in _API_WORDS if self.mount.rest.startswith(word)), None)
        if word is not None and self.mount.version == 2 and stored.presence is Presence.NEVER:
            meant = replace(self.address, path=f"{self.mount.name}/{self.mount.rest.removeprefix(word)}")
            raise DestinationError(
                f"There is no secret {self.mount.rest} in {self.mount.name}, and {word} is what the API puts in front "
                f"of the path by itself. Write {meant.uri}.",
                permanent=True,
            )

    @property
    def correction(self) -> str:
        """What corrects the metadata where it names another key, as sentences."""
        path, entry = f"{self.mount.name}/metadata/{self.mount.rest}", entry_of(self.address.field)
        return f"Let the token read and patch {path}, and the next rotation corrects it. Or correct {entry} by hand."

    def check(self) -> None:
        """Raise if a write would not be allowed."""
        granted = policy.granted_to(self.client, self.engine.data_path)
        if granted is None:
            logger.warning(
                "The token from %s may not ask sys/capabilities-self at %s, so whether it may write to %s will be seen "
                "when it does. Give it the policy `default`.",
                self.client.token_source,
                self.client.server.url,
                self.engine.data_path,
            )
        elif not policy.is_granted("read", granted):
            raise policy.missing(self.client, self.engine.data_path, self.engine.lacking(None, granted), granted)
        stored = self.engine.look()
        self.refuse_misplaced(stored)
        self._warn_of_size(stored)
        if granted is None:
            return
        presence = stored.presence
        if presence is Presence.NEVER and not policy.is_granted("update", granted) and self.engine.has_metadata():
            presence = Presence.GONE
        lacking = self.engine.lacking(presence, granted)
        if lacking:
            raise policy.missing(self.client, self.engine.data_path, lacking, granted)

    def _warn_of_size(self, stored: StoredSecret) -> None:
        """Warn where a secret with the key may be more than the storage takes; what is larger, a higher limit let in.

        A warning only: a server does not tell its limit. Where a value makes way for the key, there is room.
        """
        size = len(stored.document.encoded())
        if stored.value.is_absent and _RAFT_TAKES - _ROOM_FOR_A_KEY < size <= _RAFT_TAKES:
            logger.warning(
                "%s has %d bytes without the key. With it, the secret may exceed what Raft storage takes, 1 MiB if "
                "max_entry_size is not set. A secret of its own is the place for the key.",
                self.engine.data_path,
                size,
            )


@contextmanager
def opened_secret(
    address: VaultAddress, settings: VaultSettings, wanted: Collection[str] = EVERYTHING
) -> Iterator[OpenSecret]:
    """Yield the way to `address`; closed when the operation ends.

    Raises:
        DestinationError: a setting is wrong, the login failed, there is no KV engine, or no answer.
    """
    server, way_in = server_from(settings, address.namespace), login_from(settings)
    with VaultConnection(server) as connection:
        client = VaultClient(connection, way_in, wanted)
        mount = find_mount(client, address)
        kind = VersionedEngine if mount.version == 2 else PlainEngine
        yield OpenSecret(address, client, mount, kind(client, mount, address.field))


@dataclass(frozen=True, slots=True, repr=False)
class FormerField:
    """What stood in our field, and which key the metadata named for it."""

    former: FieldValue
    label: str | None

    def sealed(self) -> Secret:
        """Return this as a secret that `unsealed` opens."""
        memory = JsonObject({"label": self.label}).having("former", self.former)
        return Secret(memory.encoded().decode("ascii"))


def unsealed(secret: Secret) -> FormerField:
    """Return the memory that was sealed into `secret`."""
    memory = JsonObject.parsed(secret.reveal().encode())
    return FormerField(ABSENT, None) if memory is None else FormerField(memory.value("former"), memory.text("label"))


class VaultDestination(Destination):
    """One field of one secret in a KV engine."""

    scheme: ClassVar[str] = SCHEME
    known_settings: ClassVar[frozenset[str]] = KNOWN

    def __init__(self, address: VaultAddress, settings: VaultSettings) -> None:
        self._address = address
        self._settings = settings

    def __repr__(self) -> str:
        return f"<VaultDestination {self.uri}>"

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        """Return the destination that `uri` names, or None when its scheme is another's."""
        settings = VaultSettings(surroundings.settings)
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

    def beside(self, name: str) -> Self:
        """Return another field of the same secret."""
        return type(self)(replace(self._address, field=name), self._settings)

    def location(self) -> Location:
        """Ask which cluster answers; no token is shown."""
        return find_location(server_from(self._settings, self._address.namespace), self._address)

    def preflight(self) -> None:
        """Ask the server what our token may do there; write nothing."""
        with opened_secret(self._address, self._settings) as opened:
            opened.check()

    def read(self) -> Holding:
        """Return what a client of the secret would get now."""
        with opened_secret(self._address, self._settings, A_LOOK) as opened:
            return _holding(opened, opened.engine.look())

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        """Changed the one field, at the version that was looked at."""
        # 1. What JSON cannot carry exactly is refused before anything is asked.
        if not _is_text(secret):
            raise DestinationError("The value is no text that JSON can carry. Use another.", permanent=True)
        with opened_secret(self._address, self._settings) as opened:
            # 2. Compare.
            stored = opened.engine.look()
            if secret.matches(stored.value.digest):
                opened.engine.name(stored, attempt.key_id or None)
                return Receipt(stored.version, secret.digest())
            opened.refuse_misplaced(stored)
            if not _is_unchanged(opened, stored, attempt.expected_version):
                raise self._conflict()
            # 3. Set; where the answer is unclear, stored.
            done = change(opened.engine, stored, FieldValue(secret.reveal()))
            if isinstance(done, Changed):
                opened.engine.name(done.before, attempt.key_id or None)
                memory = FormerField(done.before.value, done.before.label)
                return Receipt(done.version, secret.digest(), memory.sealed())
            if secret.matches(done.value.digest):
                opened.engine.name(done, attempt.key_id or None)
                return Receipt(done.version, secret.digest())
            raise self._conflict()

    def restore(self, receipt: Receipt) -> bool:
        """Put the former value back, and keep what others did to the secret since."""
        with opened_secret(self._address, self._settings) as opened:
            stored = opened.engine.look()
            if stored.value.digest != receipt.digest:
                return False
            if receipt.undo is None:
                raise DestinationError(
                    f"{self.uri} held this key before the write of this receipt, so there is nothing to go back to. "
                    "Leave it, or remove the key.",
                    permanent=True,
                )
            memory = unsealed(receipt.undo)
            return _changed(opened, stored, memory.former, memory.label)

    def remove(self, digest: str) -> bool:
        """Take the field out if it holds the key; a secret that is empty without it is deleted, its history kept."""
        with opened_secret(self._address, self._settings) as opened:
            stored = opened.engine.look()
            return stored.value.digest == digest and _changed(opened, stored, ABSENT, None)

    def _conflict(self) -> Conflict:
        return Conflict(
            f"{self.uri} is no longer what it was when it was looked at. Nothing was written; see who else sets it, "
            "then try again."
        )


def _holding(opened: OpenSecret, stored: StoredSecret) -> Holding:
    label = None if stored.label is None else Label(stored.label, opened.correction)
    ends = stored.ends_at
    if stored.value.digest is None or ends is None or ends - datetime.now(UTC) > _SOON:
        return Holding(stored.version, stored.value.digest, label)
    warning = (
        f"Vault deletes this version of the secret at {ends:%Y-%m-%dT%H:%M:%SZ}, and the key in it. Set "
        "delete_version_after to 0s for the secret, or rotate more often, then rotate the key."
    )
    return Holding(stored.version, stored.value.digest, label, (warning,))


def _is_text(secret: Secret) -> bool:
    try:
        return bool(secret.reveal().encode())
    except UnicodeEncodeError:
        return False


def _is_unchanged(opened: OpenSecret, stored: StoredSecret, expected: str) -> bool:
    """Tell whether our field is as it was at the version `expected`, whatever its neighbours did since."""
    if stored.version == expected:
        return True
    former = opened.engine.formerly(expected)
    return former is not None and former.digest == stored.value.digest


def _changed(opened: OpenSecret, stored: StoredSecret, wanted: FieldValue, label: str | None) -> bool:
    """Change our field to `wanted`, and tell whether that was done."""
    done = change(opened.engine, stored, wanted)
    if not isinstance(done, Changed):
        return False
    if not opened.engine.name(done.before, label) and done.before.label is not None:
        logger.warning(
            "The metadata of %s names another key than what is there. %s", opened.address.path, opened.correction
        )
    return True
