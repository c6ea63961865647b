"""KV version 1: the secret as a whole, no versions, nothing that compares. What we compare, we compare just before."""

import secrets
from collections.abc import Collection
from typing import Final

from mushu_vault import policy
from mushu_vault.client import VaultClient
from mushu_vault.connection import VaultReply
from mushu_vault.engine import Engine, Outcome, Presence, StoredSecret, Unclear, Written
from mushu_vault.errors import Unanswered, not_understood, unexpected
from mushu_vault.json_object import FieldValue, JsonObject
from mushu_vault.mount import Mount

# A version is stored, and a foreign value may be guessed, so its version is a digest that nobody else can compute. Only
# the process that read it compares it, or one forked from that.
_KEY: Final = secrets.token_bytes(32)


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

    def name(self, stored: StoredSecret, key_id: str | None) -> None:
        """There is no metadata."""

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
