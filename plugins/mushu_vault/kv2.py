"""KV version 2: every change names the version that it is made to, and one field is changed by the server itself."""

from collections.abc import Collection
from typing import Final

from mushu.destination import DestinationError
from mushu_vault import label, policy
from mushu_vault.client import Client
from mushu_vault.document import ABSENT, Document, Value
from mushu_vault.engine import Engine, Look, Moved, Outcome, Presence, Unclear, Written
from mushu_vault.faults import Unanswered, not_understood, unexpected
from mushu_vault.messages import Reply, Request
from mushu_vault.mount import Mount

_NOTHING: Final = Document({})

#: What `Look.version` has at its end where a version has been deleted, which changes what is held and not its number.
_GONE: Final = "-deleted"

# Answers to a patch from those who do not let us, or do not know how.
_NO_PATCH: Final = (403, 405, 415)
_OTHER_VERSION: Final = "did not match the current version"
_UPGRADING: Final = "upgrad"


class VersionedEngine(Engine):
    """One secret in a KV engine of version 2."""

    def __init__(self, client: Client, mount: Mount, field: str) -> None:
        self._client = client
        self._mount = mount
        self._field = field
        self.data_path = f"{mount.name}/data/{mount.rest}"

    def look(self) -> Look:
        return self._look(None)

    def formerly(self, version: str) -> Value | None:
        if version == "0" or version.endswith(_GONE):
            return ABSENT
        if not version.isdecimal():
            return None
        former = self._look(int(version))
        return former.value if former.presence is Presence.THERE else None

    def replace(self, look: Look, value: Value) -> Outcome:
        try:
            reply = self._replaced(look, value)
        except Unanswered as error:
            if not error.sent:
                raise
            return Unclear(str(error))
        outcome = self._outcome(look, reply)
        if isinstance(outcome, Written) and look.document.having(self._field, value).is_empty:
            self._clear(look.number + 1)
        return outcome

    def name(self, look: Look, key_id: str | None) -> None:
        if look.label != key_id:
            label.put(self._client, f"{self._mount.name}/metadata/{self._mount.rest}", self._field, key_id)

    def lacking(self, presence: Presence | None, granted: Collection[str]) -> set[str]:
        needed = {"read"}
        if presence in (Presence.NEVER, None):
            needed.add("create")
        if presence in (Presence.GONE, None):
            needed.add("update")
        # To replace and to take away, one of the two is enough. With a patch, neighbours stay on the server.
        elif not policy.is_granted("update", granted):
            needed.add("patch")
        return {capability for capability in needed if not policy.is_granted(capability, granted)}

    def _look(self, version: int | None) -> Look:
        reply = self._client.ask(Request("GET", self.data_path, version=version))
        if reply.is_absence:
            return Look(Presence.NEVER, "0", _NOTHING)
        if reply.status == 403:
            raise policy.denied(self._client, self, None)
        data = None if reply.body is None else reply.body.child("data")
        number = None if data is None else data.number("metadata", "version")
        if not reply.is_success and (reply.status != 404 or number is None):
            raise self._refusal(reply)
        if data is None or number is None:
            raise not_understood(self._client.server.url)
        named = data.text("metadata", "custom_metadata", label.name_for(self._field))
        document = data.child("data")
        if reply.status == 404:
            return Look(Presence.GONE, f"{number}{_GONE}", _NOTHING, number=number, label=named)
        if document is None:
            raise not_understood(self._client.server.url)
        return Look(Presence.THERE, str(number), document, document.value(self._field), number, named)

    def _replaced(self, look: Look, value: Value) -> Reply:
        change = _NOTHING.beside(self._field, value.content)
        # A merge would take nulls out of anything but a text.
        if look.presence is Presence.THERE and (value.is_text or value.is_absent):
            reply = self._client.send(self._request("PATCH", look, change))
            if reply.status not in _NO_PATCH:
                return reply
        return self._client.send(self._request("POST", look, look.document.having(self._field, value)))

    def _request(self, method: str, look: Look, fields: Document) -> Request:
        body = fields.within("data").beside("options", {"cas": look.number})
        return Request(method, self.data_path, body)

    def _outcome(self, look: Look, reply: Reply) -> Outcome:
        if reply.is_success:
            # Made to one version, a change makes the next; anything else was not this change.
            if reply.body is not None and reply.body.number("data", "version") == look.number + 1:
                return Written(str(look.number + 1))
            return Unclear(str(not_understood(self._client.server.url)))
        if reply.status == 404 or (reply.status == 400 and reply.mentions(_OTHER_VERSION)):
            return Moved()
        if reply.status == 403:
            raise policy.denied(self._client, self, look.presence)
        refusal = self._refusal(reply)
        if reply.status >= 500:
            return Unclear(str(refusal))
        raise refusal

    def _refusal(self, reply: Reply) -> DestinationError:
        url = self._client.server.url
        if reply.status == 400 and reply.mentions(_UPGRADING):
            return DestinationError(f"{url} is upgrading {self._mount.name}. Try again in a moment.", permanent=False)
        return unexpected(url, reply.status, reply.location)

    def _clear(self, version: int) -> None:
        """Delete the version that we left empty, if we may: named by its number, no other can be hit."""
        body = Document({"versions": [version]})
        self._client.attempt(Request("POST", f"{self._mount.name}/delete/{self._mount.rest}", body))
