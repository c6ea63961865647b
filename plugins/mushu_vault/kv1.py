"""KV version 1: the secret as a whole, no versions, nothing that compares. What we compare, we compare just before."""

import secrets
from collections.abc import Collection
from typing import Final

from mushu_vault import policy
from mushu_vault.client import Client
from mushu_vault.document import Document, Value
from mushu_vault.engine import Engine, Look, Outcome, Presence, Unclear, Written
from mushu_vault.faults import Unanswered, not_understood, unexpected
from mushu_vault.messages import Reply, Request
from mushu_vault.mount import Mount

# A version is stored, and a foreign value may be guessed, so its version is a digest that nobody else can compute. Only
# the process that read it compares it, or one forked from that.
_KEY: Final = secrets.token_bytes(32)


class PlainEngine(Engine):
    """One secret in a KV engine of version 1."""

    def __init__(self, client: Client, mount: Mount, field: str) -> None:
        self._client = client
        self._field = field
        self.data_path = f"{mount.name}/{mount.rest}"

    def look(self) -> Look:
        reply = self._client.ask(Request("GET", self.data_path))
        if reply.is_absence:
            return self._seen(Presence.NEVER, Document({}))
        if reply.status == 403:
            raise policy.denied(self._client, self, None)
        if not reply.is_success:
            raise unexpected(self._client.server.url, reply.status, reply.location)
        document = None if reply.body is None else reply.body.child("data")
        if document is None:
            raise not_understood(self._client.server.url)
        return self._seen(Presence.THERE, document)

    def formerly(self, version: str) -> Value | None:  # noqa: ARG002 - no version is kept
        return None

    def replace(self, look: Look, value: Value) -> Outcome:
        changed = look.document.having(self._field, value)
        try:
            reply = self._client.send(Request("DELETE", self.data_path)) if changed.is_empty else self._posted(changed)
            if changed.is_empty and reply.status == 403:
                # An engine of this version takes no secret without fields. An empty value is no value, too.
                reply = self._posted(changed.having(self._field, Value("")))
        except Unanswered as error:
            if not error.sent:
                raise
            return Unclear(str(error))
        return self._outcome(look, value, reply)

    def name(self, look: Look, key_id: str | None) -> None:
        """There is no metadata."""

    def lacking(self, presence: Presence | None, granted: Collection[str]) -> set[str]:
        needed = {"read", "update"} if presence is Presence.THERE else {"read", "create", "update"}
        return {capability for capability in needed if not policy.is_granted(capability, granted)}

    def _posted(self, document: Document) -> Reply:
        return self._client.send(Request("POST", self.data_path, document))

    def _outcome(self, look: Look, value: Value, reply: Reply) -> Outcome:
        if reply.status == 204:
            return Written(_version_of(value))
        if reply.status == 403:
            raise policy.denied(self._client, self, look.presence)
        if reply.is_success:
            return Unclear(str(not_understood(self._client.server.url)))
        refusal = unexpected(self._client.server.url, reply.status, reply.location)
        if reply.status >= 500:
            return Unclear(str(refusal))
        raise refusal

    def _seen(self, presence: Presence, document: Document) -> Look:
        value = document.value(self._field)
        return Look(presence, _version_of(value), document, value)


def _version_of(value: Value) -> str:
    """Return what differs whenever the value does, and tells nobody anything about it."""
    return f"v1-{value.keyed_digest(_KEY)[:32]}"
