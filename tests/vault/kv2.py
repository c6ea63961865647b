"""The key-value engine, version 2: what stands under `data`, `subkeys`, `delete`, `undelete`, `destroy`, `config`."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.vault.answers import Refused, Reply, bare, listed
from tests.vault.calls import Call
from tests.vault.fields import Fields, Reader
from tests.vault.kv2_metadata import METADATA, Metadata
from tests.vault.secrets2 import DISABLED, Secret, Settings, Version, check_and_set, deletion_of
from tests.vault.values import duration, mapping, now, seconds, truth, whole, wholes

_DATA: dict[str, Reader] = {"path": str, "version": whole, "options": mapping, "data": mapping}
_VERSIONS: dict[str, Reader] = {"path": str, "versions": wholes}
_SUBKEYS: dict[str, Reader] = {"path": str, "version": whole, "depth": whole}
_CONFIG: dict[str, Reader] = {"max_versions": whole, "cas_required": truth, "metadata_cas_required": truth}
_CONFIG |= {"delete_version_after": seconds}
_COMMANDS = {"create": "put", "update": "put", "read": "get"}
_OPENBAO_ONLY = ("current_metadata_version", "metadata_cas_required")
_ROOTS = ("metadata", "data", "delete", "undelete", "destroy")
_ROOT_WARNING = "Non-listing operations on the root of a K/V v2 mount are not supported."
_INVALID_WARNING = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. "
    "If using the {name} CLI, use '{command} kv {operation}' for this operation."
)

Handler = Callable[[str, Fields], Reply | None]


class VersionedSecrets:
    """One mount; the caller holds the lock of the server."""

    def __init__(self, product: str = "OpenBao") -> None:
        self.secrets: dict[str, Secret] = {}
        self.settings = Settings()
        self._product = product
        self._metadata = Metadata(self.secrets, self.settings)

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
        reply = self._handled(call)
        if reply is not None and reply.data is not None and self._product == "Vault":
            reply.data = {name: value for name, value in reply.data.items() if name not in _OPENBAO_ONLY}
        return reply

    def _handled(self, call: Call) -> Reply | None:
        kind, slash, key = call.path.partition("/")
        if call.path == "config":
            return self._route(call, "", _CONFIG, {"read": self._read_config, "update": self._configure})
        if slash and kind in ("metadata", "detailed-metadata"):
            return self._metadata.handle(kind, key, call)
        operations = self._operations(kind) if slash else None
        return self._invalid(call) if operations is None else self._route(call, key, *operations)

    def _operations(self, kind: str) -> tuple[dict[str, Reader], dict[str, Handler]] | None:
        match kind:
            case "data":
                own: dict[str, Handler] = {"read": self._read, "create": self._write, "update": self._write}
                return _DATA, own | {"patch": self._patch, "delete": self._delete}
            case "subkeys":
                return _SUBKEYS, {"read": self._subkeys}
            case "delete" | "undelete" | "destroy":
                changes: dict[str, Handler] = {
                    "delete": self._delete_versions,
                    "undelete": self._undelete,
                    "destroy": self._destroy,
                }
                return _VERSIONS, {"update": changes[kind]}
        return None

    def _route(self, call: Call, key: str, schema: dict[str, Reader], handlers: dict[str, Handler]) -> Reply | None:
        if call.operation not in handlers:
            raise Refused(405, listed("unsupported operation"))
        fields = Fields(call, schema)
        return fields.warn(handlers[call.operation](key, fields))

    def _invalid(self, call: Call) -> Reply:
        operation = _COMMANDS.get(call.operation, call.operation)
        command = {"OpenBao": "bao", "Vault": "vault"}[self._product]
        warning = _INVALID_WARNING.format(name=self._product, command=command, operation=operation)
        return Reply(warnings=[_ROOT_WARNING if call.path in _ROOTS else warning], status=404, raw=True)

    def _found(self, key: str, fields: Fields) -> tuple[Secret, int] | None:
        secret = self.secrets.get(key)
        if secret is None:
            return None
        asked = fields.get("version", 0)
        number = asked if asked > 0 else secret.current
        return (secret, number) if number in secret.versions else None

    def _shown(self, key: str, fields: Fields, name: str, show: Callable[[Version], Any]) -> Reply | None:
        found = self._found(key, fields)
        if found is None:
            return None
        secret, number = found
        version = secret.versions[number]
        if version.deleted or version.destroyed:
            return Reply({name: None, "metadata": secret.described(number)}, status=404, raw=True)
        return Reply({name: show(version), "metadata": secret.described(number)})

    def _read(self, key: str, fields: Fields) -> Reply | None:
        return self._shown(key, fields, "data", lambda version: version.data)

    def _subkeys(self, key: str, fields: Fields) -> Reply | None:
        depth = fields.get("depth", 0)
        return self._shown(key, fields, "subkeys", lambda version: _without_values(version.data or {}, depth, 1))

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

    def _undelete(self, key: str, fields: Fields) -> None:
        for version in self._numbered(key, fields, "No version number provided"):
            if not version.destroyed:
                version.deletion = deletion_of(now(), self.settings, self.secrets[key].settings)

    def _destroy(self, key: str, fields: Fields) -> None:
        for version in self._numbered(key, fields, "no version number provided"):
            version.destroyed, version.text = True, None

    def _numbered(self, key: str, fields: Fields, complaint: str) -> list[Version]:
        numbers = fields.get("versions") or []
        if not numbers:
            raise Refused(400, complaint)
        secret = self.secrets.get(key, Secret())
        return [secret.versions[number] for number in numbers if number in secret.versions]

    def _read_config(self, key: str, fields: Fields) -> Reply:
        after = duration(self.settings.delete_version_after or 0)
        return Reply(vars(replace(self.settings)) | {"delete_version_after": after})

    def _configure(self, key: str, fields: Fields) -> None:
        for name in ("max_versions", "cas_required", "metadata_cas_required"):
            if name in fields:
                setattr(self.settings, name, fields.get(name))
        if "delete_version_after" in fields:
            after = fields.get("delete_version_after")
            self.settings.delete_version_after = DISABLED if after < 0 else after or None


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


def _without_values(data: dict[str, Any], most: int, depth: int) -> dict[str, Any]:
    return {
        name: _without_values(value, most, depth + 1)
        if isinstance(value, dict) and value and (not most or depth + 1 <= most)
        else None
        for name, value in data.items()
    }
