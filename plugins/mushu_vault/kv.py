"""The KV engines: how each version looks at one secret, and replaces one field of it.

Version 1 has the secret as a whole, no versions, nothing that compares: what we compare, we compare just before. In
version 2 every change names the version that it is made to, and the server itself changes one field. Its custom
metadata names the key of each field. It is for people who read it, so nothing fails for it.
"""

import secrets
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final, cast

import hvac

from mushu.destination import DestinationError
from mushu_vault import policy
from mushu_vault.client import VaultClient
from mushu_vault.connection import VaultReply
from mushu_vault.engine import Engine, Moved, Outcome, Presence, StoredSecret, Unclear, Written
from mushu_vault.errors import Unanswered, not_understood, unexpected
from mushu_vault.json_object import ABSENT, FieldValue, JsonObject
from mushu_vault.mount import Mount
from mushu_vault.uri import encoded_path

# A version is stored, and a foreign value may be guessed, so its version is a digest that nobody else can compute. Only
# the process that read it compares it, or one forked from that.
_KEY: Final = secrets.token_bytes(32)

_NOTHING: Final = JsonObject({})

#: The end of `StoredSecret.version` where that version is deleted: the value has changed, and the number has not.
_GONE: Final = "-deleted"

# Answers to a patch from those who do not let us, or do not know how.
_NO_PATCH: Final = (403, 405, 415)
_OTHER_VERSION: Final = "did not match the current version"
_UPGRADING: Final = "upgrad"
# How OpenBao asks for the version of the metadata, and says that it is another by now.
_METADATA_VERSION: Final = "metadata check-and-set"
# Each try that fails is somebody else's change of the metadata.
_TRIES: Final = 5
# What Vault allows for the name of an entry of the metadata, in bytes.
_LONGEST_ENTRY: Final = 128


class PlainEngine(Engine):
    """One secret in a KV engine of version 1."""

    def __init__(self, client: VaultClient, mount: Mount, field: str) -> None:
        self._client = client
        self._mount = mount
        self._field = field
        self.data_path = f"{mount.name}/{mount.rest}"

    def look(self) -> StoredSecret:
        reply = self._client.ask(lambda vault: vault.secrets.kv.v1.read_secret(self._mount.rest, self._mount.name))
        if reply.is_absence:
            return self._seen(Presence.NEVER, JsonObject({}))
        if reply.status == 403:
            raise policy.denied(self._client, self, None)
        if not reply.is_success:
            raise unexpected(self._client.server.url, reply.status, reply.location)
        document = None if reply.body is None else reply.body.child("data")
        if document is None:
            raise not_understood(self._client.server.url)
        return self._seen(Presence.THERE, document)

    def formerly(self, version: str) -> FieldValue | None:  # noqa: ARG002 - no version is kept
        return None

    def replace(self, stored: StoredSecret, value: FieldValue) -> Outcome:
        changed = stored.document.having(self._field, value)
        try:
            reply = self._deleted() if changed.is_empty else self._posted(changed)
            if changed.is_empty and reply.status == 403:
                # An engine of this version takes no secret without fields. An empty value is no value, too.
                reply = self._posted(changed.having(self._field, FieldValue("")))
        except Unanswered as error:
            if not error.sent:
                raise
            return Unclear(str(error))
        return self._outcome(stored, value, reply)

    def name(self, stored: StoredSecret, key_id: str | None) -> bool:  # noqa: ARG002 - there is no metadata
        return True

    def has_metadata(self) -> bool:
        return False

    def lacking(self, presence: Presence | None, granted: Collection[str]) -> set[str]:
        needed = {"read", "update"} if presence is Presence.THERE else {"read", "create", "update"}
        return {capability for capability in needed if not policy.is_granted(capability, granted)}

    def _posted(self, document: JsonObject) -> VaultReply:
        return self._client.send(
            lambda vault: vault.secrets.kv.v1.create_or_update_secret(
                self._mount.rest, document.content, method="POST", mount_point=self._mount.name
            )
        )

    def _deleted(self) -> VaultReply:
        return self._client.send(lambda vault: vault.secrets.kv.v1.delete_secret(self._mount.rest, self._mount.name))

    def _outcome(self, stored: StoredSecret, value: FieldValue, reply: VaultReply) -> Outcome:
        if reply.status == 204:
            return Written(_version_of(value))
        if reply.status == 403:
            raise policy.denied(self._client, self, stored.presence)
        if reply.is_success:
            return Unclear(str(not_understood(self._client.server.url)))
        refusal = unexpected(self._client.server.url, reply.status, reply.location)
        if reply.status >= 500:
            return Unclear(str(refusal))
        raise refusal

    def _seen(self, presence: Presence, document: JsonObject) -> StoredSecret:
        value = document.value(self._field)
        return StoredSecret(presence, _version_of(value), document, value)


def _version_of(value: FieldValue) -> str:
    """Return what differs whenever the value does, and tells nobody anything about it."""
    return f"v1-{value.keyed_digest(_KEY)[:32]}"


class VersionedEngine(Engine):
    """One secret in a KV engine of version 2."""

    def __init__(self, client: VaultClient, mount: Mount, field: str) -> None:
        self._client = client
        self._mount = mount
        self._field = field
        self.data_path = f"{mount.name}/data/{mount.rest}"

    def look(self) -> StoredSecret:
        return self._look(None)

    def formerly(self, version: str) -> FieldValue | None:
        if version == "0" or version.endswith(_GONE):
            return ABSENT
        if not version.isdecimal():
            return None
        former = self._look(int(version))
        return former.value if former.presence is Presence.THERE else None

    def replace(self, stored: StoredSecret, value: FieldValue) -> Outcome:
        try:
            reply = self._replaced(stored, value)
        except Unanswered as error:
            if not error.sent:
                raise
            return Unclear(str(error))
        outcome = self._outcome(stored, reply)
        if isinstance(outcome, Written) and stored.document.having(self._field, value).is_empty:
            self._clear(stored.number + 1)
        return outcome

    def name(self, stored: StoredSecret, key_id: str | None) -> bool:
        return stored.label == key_id or _put_entry(self._client, self._mount, entry_of(self._field), key_id)

    def lacking(self, presence: Presence | None, granted: Collection[str]) -> set[str]:
        needed = {"read"}
        if presence in (Presence.NEVER, None):
            needed.add("create")
        if presence in (Presence.GONE, None):
            needed.add("update")
        # To replace and to take away, one of the two is enough. With a patch, neighbours stay on the server; with an
        # update, a path that has metadata and no version is written to, which looks like none.
        elif not policy.is_granted("update", granted) and not policy.is_granted("patch", granted):
            needed.add("patch" if presence is Presence.THERE else "update")
        return {capability for capability in needed if not policy.is_granted(capability, granted)}

    def has_metadata(self) -> bool:
        reply = self._client.attempt(
            lambda vault: vault.secrets.kv.v2.read_secret_metadata(self._mount.rest, self._mount.name)
        )
        return reply is not None and reply.is_success

    def _look(self, version: int | None) -> StoredSecret:
        reply = self._client.ask(
            lambda vault: vault.secrets.kv.v2.read_secret_version(
                self._mount.rest, version, self._mount.name, raise_on_deleted_version=False
            )
        )
        if reply.is_absence:
            return StoredSecret(Presence.NEVER, "0", _NOTHING)
        if reply.status == 403:
            raise policy.denied(self._client, self, None)
        data = None if reply.body is None else reply.body.child("data")
        number = None if data is None else data.number("metadata", "version")
        if not reply.is_success and (reply.status != 404 or number is None):
            raise self._refusal(reply)
        if data is None or number is None:
            raise not_understood(self._client.server.url)
        named = data.text("metadata", "custom_metadata", entry_of(self._field))
        ends_at = _moment(data.text("metadata", "deletion_time"))
        document = data.child("data")
        if reply.status == 404:
            return StoredSecret(Presence.GONE, f"{number}{_GONE}", _NOTHING, number=number, label=named)
        if document is None:
            raise not_understood(self._client.server.url)
        return StoredSecret(Presence.THERE, str(number), document, document.value(self._field), number, named, ends_at)

    def _replaced(self, stored: StoredSecret, value: FieldValue) -> VaultReply:
        change = _NOTHING.beside(self._field, value.content)
        # A merge would take nulls out of anything but a text.
        if stored.presence is Presence.THERE and (value.is_text or value.is_absent):
            merged = change.within("data").beside("options", {"cas": stored.number})
            reply = self._client.send(lambda vault: vault.adapter.patch(self.data_path, merged.content))
            if reply.status not in _NO_PATCH:
                return reply
        whole = stored.document.having(self._field, value)
        return self._client.send(
            lambda vault: vault.secrets.kv.v2.create_or_update_secret(
                self._mount.rest, whole.content, cas=stored.number, mount_point=self._mount.name
            )
        )

    def _outcome(self, stored: StoredSecret, reply: VaultReply) -> Outcome:
        if reply.is_success:
            # Made to one version, a change makes the next; anything else was not this change.
            if reply.body is not None and reply.body.number("data", "version") == stored.number + 1:
                return Written(str(stored.number + 1))
            return Unclear(str(not_understood(self._client.server.url)))
        if reply.status == 404 or (reply.status == 400 and reply.mentions(_OTHER_VERSION)):
            return Moved()
        if reply.status == 403:
            raise policy.denied(self._client, self, stored.presence)
        refusal = self._refusal(reply)
        if reply.status >= 500:
            return Unclear(str(refusal))
        raise refusal

    def _refusal(self, reply: VaultReply) -> DestinationError:
        url = self._client.server.url
        if reply.status == 400 and reply.mentions(_UPGRADING):
            return DestinationError(f"{url} is upgrading {self._mount.name}. Try again in a moment.", permanent=False)
        return unexpected(url, reply.status, reply.location)

    def _clear(self, version: int) -> None:
        """Delete the version that we left empty, if we may: named by its number, no other can be hit."""
        self._client.attempt(
            lambda vault: vault.secrets.kv.v2.delete_secret_versions(self._mount.rest, [version], self._mount.name)
        )


def entry_of(field: str) -> str:
    """Return the entry of the custom metadata that belongs to `field`."""
    return f"mushu_{field}"


def _moment(text: str | None) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(text) if text else None
    return None


def _put_entry(client: VaultClient, mount: Mount, name: str, key_id: str | None) -> bool:
    """Set the entry `name` to `key_id`, or take it away, and tell whether that was done; other entries stay.

    Where that is allowed, the server merges it. Else the entries are read and written back with ours among them. The
    version of the metadata is named where the server asks for that, or may lose a change by somebody else in between.
    """
    if not name.isprintable() or len(name.encode()) > _LONGEST_ENTRY:
        return False
    path = f"{mount.name}/metadata/{mount.rest}"
    body, merging = JsonObject({name: key_id}).within("custom_metadata"), True
    for _ in range(_TRIES):
        reply = client.attempt(partial(_put_metadata, path, body, merging))
        if reply is None or reply.is_success:
            return reply is not None
        if merging and reply.status in _NO_PATCH:
            merging = False
        elif reply.status != 400 or not reply.mentions(_METADATA_VERSION):
            return False
        seen = client.attempt(lambda vault: vault.secrets.kv.v2.read_secret_metadata(mount.rest, mount.name))
        data = seen.body.child("data") if seen is not None and seen.is_success and seen.body is not None else None
        if data is None:
            return False
        entries = data.child("custom_metadata") or _NOTHING
        changed = JsonObject({name: key_id}) if merging else entries.having(name, FieldValue(key_id))
        version = data.number("current_metadata_version")
        body = changed.within("custom_metadata")
        body = body if version is None else body.beside("metadata_cas", version)
    return False


def _put_metadata(path: str, body: JsonObject, merging: bool, vault: hvac.Client) -> VaultReply:
    # Not hvac's update_metadata: that would set `delete_version_after` back.
    if merging:
        return cast("VaultReply", vault.adapter.patch(path, body.content))
    return cast("VaultReply", vault.adapter.post(f"/v1/{encoded_path(path)}", json=body.content))
