"""The key-value engine, version 2: what stands under `metadata` and `detailed-metadata`."""

import json
from collections.abc import Callable
from typing import Any

from tests.vault.answers import Refused, Reply, bare, listed
from tests.vault.calls import Call
from tests.vault.fields import Fields, Reader
from tests.vault.listing import children, listing
from tests.vault.secrets2 import Secret, Settings
from tests.vault.values import Unreadable, mapping, not_negative, now, text, truth, whole

METADATA: dict[str, Reader] = {
    "path": str,
    "cas_required": truth,
    "metadata_cas_required": truth,
    "max_versions": whole,
}
METADATA |= {"delete_version_after": not_negative, "custom_metadata": mapping, "metadata_cas": whole}
METADATA |= {"max_versions": whole, "after": str, "limit": whole}
_SETTINGS = ("max_versions", "cas_required", "metadata_cas_required", "delete_version_after")
_FAILED = "custom_metadata validation failed"
_MOST, _LONGEST_KEY, _LONGEST_VALUE = 64, 128, 512


class Metadata:
    """The metadata of the secrets of one mount."""

    def __init__(self, secrets: dict[str, Secret], mount: Settings) -> None:
        self._secrets = secrets
        self._mount = mount

    def handle(self, kind: str, key: str, call: Call) -> Reply | None:
        """Raises: Refused."""
        handlers: dict[str, Callable[[str, Fields], Reply | None]] = {"list": self._list}
        if kind == "metadata":
            handlers |= {"read": self._read, "create": self._write, "update": self._write}
            handlers |= {"patch": self._patch, "delete": self._delete}
        else:
            handlers = {"list": self._list_in_detail}
        if call.operation not in handlers:
            raise Refused(405, listed("unsupported operation"))
        fields = Fields(call, METADATA)
        return fields.warn(handlers[call.operation](key, fields))

    def _read(self, key: str, fields: Fields) -> Reply | None:
        secret = self._secrets.get(key)
        return None if secret is None else Reply(secret.metadata())

    def _list(self, key: str, fields: Fields) -> Reply:
        return listing(children(self._secrets, key), fields.get("after", ""), fields.get("limit", 0))

    def _list_in_detail(self, key: str, fields: Fields) -> Reply:
        reply = self._list(key, fields)
        names = (reply.data or {}).get("keys", [])
        found = {name: self._secrets.get(key + name) for name in names}
        infos = {name: secret.metadata() if secret else {} for name, secret in found.items()}
        return Reply((reply.data or {}) | {"key_info": infos}) if names else reply

    def _delete(self, key: str, fields: Fields) -> None:
        self._secrets.pop(key, None)

    def _write(self, key: str, fields: Fields) -> Reply | None:
        if not any(name in fields for name in (*_SETTINGS, "custom_metadata")):
            return None
        custom = checked(fields.get("custom_metadata") or {}, keep_nulls=True)
        secret = self._secrets.get(key)
        self._check_and_set(fields, secret)
        moment = now()
        if secret is None:
            secret = self._secrets[key] = Secret(created=moment)
        secret.metadata_version += 1
        secret.updated = moment
        self._set(secret, fields)
        if "custom_metadata" in fields:
            secret.custom = custom
        return self._warned(fields)

    def _patch(self, key: str, fields: Fields) -> Reply | None:
        if not any(name in fields for name in (*_SETTINGS, "custom_metadata")):
            return None
        given = fields.get("custom_metadata")
        custom = checked(given or {}, keep_nulls=False)
        secret = self._secrets.get(key)
        if secret is None:
            return bare(404)
        self._check_and_set(fields, secret)
        _check_types(fields)
        self._set(secret, fields)
        if "custom_metadata" in fields:
            gone = secret.custom if given is None else {name for name, value in given.items() if value is None}
            secret.custom = {name: value for name, value in (secret.custom | custom).items() if name not in gone}
        secret.metadata_version += 1
        secret.updated = now()
        return self._warned(fields)

    def _set(self, secret: Secret, fields: Fields) -> None:
        for name in _SETTINGS:
            if name in fields:
                value = fields.get(name)
                setattr(secret.settings, name, value % 2**32 if name == "max_versions" else value)

    def _check_and_set(self, fields: Fields, secret: Secret | None) -> None:
        required = self._mount.metadata_cas_required or (secret is not None and secret.settings.metadata_cas_required)
        if "metadata_cas" not in fields:
            if required:
                raise Refused(400, "metadata check-and-set parameter required for this call")
            return
        if secret is None and fields.get("metadata_cas") != 0:
            raise Refused(400, "metadata_cas must be 0 when creating new metadata")
        if secret is not None and fields.get("metadata_cas") != secret.metadata_version:
            raise Refused(400, "metadata check-and-set parameter does not match the current version")

    def _warned(self, fields: Fields) -> Reply | None:
        warnings = [
            f'"{name}" set to false, but is mandated by backend config. This value will be ignored.'
            for name in ("cas_required", "metadata_cas_required")
            if getattr(self._mount, name) and fields.get(name) is False
        ]
        return Reply(warnings=warnings) if warnings else None


def checked(given: dict[str, Any], *, keep_nulls: bool) -> dict[str, str]:
    """Return the custom metadata as texts. Raises: Refused, if there are too many, too long or unprintable ones."""
    try:
        custom = {name: text(value) for name, value in given.items() if keep_nulls or value is not None}
    except Unreadable as unreadable:
        raise Refused(400, f"{_FAILED}: {unreadable}") from None
    if len(custom) > _MOST:
        most = f"{_FAILED}: payload must contain at most {_MOST} keys, provided {len(custom)}"
        raise Refused(400, listed(most))
    errors = [f"{_FAILED}: {error}" for name, value in custom.items() for error in _errors(name, value)]
    if errors:
        raise Refused(400, listed(*errors))
    return custom


def _check_types(fields: Fields) -> None:
    """Stumble as the real one does over what its patch cannot put where it belongs. Raises: Refused."""
    name, wrong = "custom_metadata of type string", None
    for value in (fields.get("custom_metadata") or {}).values():
        if value is not None and not isinstance(value, str):
            wrong = "bool" if isinstance(value, bool) else "number"
    if fields.get("max_versions", 0) < 0:
        name, wrong = "max_versions of type uint32", f"number {fields.get('max_versions')}"
    if wrong:
        raise Refused(500, listed(f"json: cannot unmarshal {wrong} into Go struct field KeyMetadata.{name}"))


def _errors(name: str, value: str) -> list[str]:
    shown, errors = json.dumps(name, ensure_ascii=False), []
    if not 0 < (length := len(name.encode(errors="replace"))) <= _LONGEST_KEY:
        errors.append(f"length of key {shown} is {length} but must be 0 < len(key) <= {_LONGEST_KEY}")
    if not 0 < (length := len(value.encode(errors="replace"))) <= _LONGEST_VALUE:
        errors.append(f"length of value for key {shown} is {length} but must be 0 < len(value) <= {_LONGEST_VALUE}")
    if not name.isprintable():
        errors.append(f"key {shown} ({name}) contains unprintable characters")
    if not value.isprintable():
        errors.append(f"value for key {shown} contains unprintable characters")
    return errors
