"""The key-value engine, version 2: what stands under `data`, `delete` and `destroy`."""

import json
from collections.abc import Callable
from typing import Any

from tests.vault.answers import Refused, Reply, bare, listed
from tests.vault.calls import Call
from tests.vault.fields import Fields, Reader
from tests.vault.kv2_metadata import METADATA, Metadata
from tests.vault.secrets2 import Secret, Settings, Version, check_and_set
from tests.vault.values import mapping, now, whole, wholes

_DATA: dict[str, Reader] = {"path": str, "version": whole, "options": mapping, "data": mapping}
_VERSIONS: dict[str, Reader] = {"path": str, "versions": wholes}
_INVALID_WARNING = "Invalid path for a versioned K/V secrets engine."

Handler = Callable[[str, Fields], Reply | None]


class VersionedSecrets:
    """One mount; the caller holds the lock of the server."""

    def __init__(self) -> None:
        self.secrets: dict[str, Secret] = {}
        self.settings = Settings()
        self._metadata = Metadata(self.secrets)

    def exists(self, call: Call) -> bool | None:
        """Say whether a write would change what is there; None where the engine does not look.

        Raises: Refused, for fields that it cannot read: before anybody has asked who wants to know.
        """
        kind, slash, key = call.path.partition("/")
        if not slash or kind not in ("data", "metadata"):
            return None
        Fields(call, _DATA if kind == "data" else METADATA, "")
        return key in self.secrets

    def handle(self, call: Call) -> Reply | None:
        """Raises: Refused."""
        kind, slash, key = call.path.partition("/")
        if slash and kind == "metadata":
            return self._metadata.handle(key, call)
        operations = self._operations(kind) if slash else None
        return (
            Reply(warnings=[_INVALID_WARNING], status=404, raw=True)
            if operations is None
            else self._route(call, key, *operations)
        )

    def _operations(self, kind: str) -> tuple[dict[str, Reader], dict[str, Handler]] | None:
        match kind:
            case "data":
                own: dict[str, Handler] = {"read": self._read, "create": self._write, "update": self._write}
                return _DATA, own | {"patch": self._patch, "delete": self._delete}
            case "delete":
                return _VERSIONS, {"update": self._delete_versions}
            case "destroy":
                return _VERSIONS, {"update": self._destroy}
        return None

    def _route(self, call: Call, key: str, schema: dict[str, Reader], handlers: dict[str, Handler]) -> Reply | None:
        if call.operation not in handlers:
            raise Refused(405, listed("unsupported operation"))
        fields = Fields(call, schema)
        return handlers[call.operation](key, fields)

    def _found(self, key: str, fields: Fields) -> tuple[Secret, int] | None:
        secret = self.secrets.get(key)
        if secret is None:
            return None
        asked = fields.get("version", 0)
        number = asked if asked > 0 else secret.current
        return (secret, number) if number in secret.versions else None

    def _read(self, key: str, fields: Fields) -> Reply | None:
        found = self._found(key, fields)
        if found is None:
            return None
        secret, number = found
        version = secret.versions[number]
        if version.deleted or version.destroyed:
            return Reply({"data": None, "metadata": secret.described(number)}, status=404, raw=True)
        return Reply({"data": version.data, "metadata": secret.described(number)})

    def _write(self, key: str, fields: Fields) -> Reply:
        if "data" not in fields:
            raise Refused(400, "no data provided")
        secret = self.secrets.get(key, Secret())
        check_and_set(fields, self.settings, secret)
        self.secrets[key] = secret
        return Reply(secret.add(json.dumps(fields.get("data")), self.settings))

    def _patch(self, key: str, fields: Fields) -> Reply:
        if "data" not in fields:
            raise Refused(400, "no data provided")
        secret = self.secrets.get(key)
        if secret is None:
            return bare(404)
        check_and_set(fields, self.settings, secret)
        version = secret.versions.get(secret.current)
        if version is None:
            return bare(404)
        if version.deleted or version.destroyed:
            return Reply(secret.described(secret.current), status=404, raw=True)
        if version.data is None:
            raise Refused(500, listed("resource does not exist"))
        merged = merge(version.data, fields.get("data"))
        return Reply(secret.add(json.dumps(merged), self.settings))

    def _delete(self, key: str, fields: Fields) -> None:
        secret = self.secrets.get(key)
        version = secret.versions.get(secret.current) if secret else None
        if version is not None:
            _delete(version)

    def _delete_versions(self, key: str, fields: Fields) -> None:
        for version in self._numbered(key, fields, "No version number provided"):
            _delete(version)

    def _destroy(self, key: str, fields: Fields) -> None:
        for version in self._numbered(key, fields, "no version number provided"):
            version.destroyed, version.text = True, None

    def _numbered(self, key: str, fields: Fields, complaint: str) -> list[Version]:
        numbers = fields.get("versions") or []
        if not numbers:
            raise Refused(400, complaint)
        secret = self.secrets.get(key, Secret())
        return [secret.versions[number] for number in numbers if number in secret.versions]


def merge(target: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7396): null deletes, an object goes down, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _delete(version: Version) -> None:
    if not (version.deleted or version.destroyed):
        version.deletion = now()
